/* SPDX-License-Identifier: BSD-3-Clause */
/* The machines that the library may meet; what is left out is 0: unknown, absent, refused. */
#include <errno.h>

#include "fake.h"
#include "kernel/magic.h"

static const struct fake_region real = {"ACPI.NFIT", "nd_pmem", "memory_controller", "1", "1", false, {"", NULL},
                                        false};
static const struct fake_region no_domain =
	{"ACPI.NFIT", "nd_pmem", NULL, "0", "1", false, {"smart_notify ", NULL}, false};
static const struct fake_region dram = {"e820", "nd_pmem", NULL, NULL, "1", false, {NULL, NULL}, false};
static const struct fake_region virtio = {"virtio-pmem", "nd_pmem", NULL, NULL, "1", false, {NULL, NULL}, false};
static const struct fake_region with_caches = {"ACPI.NFIT", "nd_pmem", "cpu_cache", "0", "0", false, {"", ""}, false};

const struct fake_machine fake_plain = {
	.name = "plain ext4", .dax = PM_NO, .magic = EXT4_SUPER_MAGIC, .has_unnamed_files = true,
	.mount = "ext4 /dev/vda1 rw,errors=remount-ro,data=ordered", .release = "6.18.44"};
const struct fake_machine fake_dax = {
	.name = "ext4 on NVDIMM", .dax = PM_YES, .sync = FAKE_ACCEPTS, .magic = EXT4_SUPER_MAGIC, .region = &real,
	.has_unnamed_files = true, .mount = "ext4 /dev/pmem0 rw,dax=always"};
const struct fake_machine fake_dax_no_domain = {
	.name = "ext4 on NVDIMM that states no domain", .dax = PM_YES, .sync = FAKE_ACCEPTS, .magic = EXT4_SUPER_MAGIC,
	.region = &no_domain, .has_unnamed_files = true, .mount = "ext4 /dev/pmem0 rw,dax"};
const struct fake_machine fake_xfs_reflink = {
	.name = "xfs with reflink", .dax = PM_YES, .sync = FAKE_ACCEPTS, .magic = XFS_SUPER_MAGIC, .reflink = PM_YES,
	.region = &real, .has_unnamed_files = true, .mount = "xfs /dev/pmem0 rw,attr2,dax=always,inode64"};
const struct fake_machine fake_e820 = {
	.name = "DRAM as NVDIMM", .dax = PM_YES, .sync = FAKE_ACCEPTS, .magic = EXT4_SUPER_MAGIC, .region = &dram,
	.has_unnamed_files = true, .mount = "ext4 /dev/pmem0 rw,dax=always"};
const struct fake_machine fake_virtio_pmem = {
	.name = "virtio-pmem", .dax = PM_YES, .sync = FAKE_REFUSES, .magic = EXT4_SUPER_MAGIC, .region = &virtio,
	.has_unnamed_files = true, .mount = "ext4 /dev/pmem0 rw,dax=always"};
const struct fake_machine fake_eadr = {
	.name = "eADR", .dax = PM_YES, .sync = FAKE_ACCEPTS, .magic = EXT4_SUPER_MAGIC, .region = &with_caches,
	.has_unnamed_files = true, .mount = "ext4 /dev/pmem0 rw,dax=always"};
const struct fake_machine fake_device_dax = {
	.name = "device-dax", .dax = PM_YES, .sync = FAKE_ACCEPTS, .is_device_dax = true, .region = &real};
const struct fake_machine fake_tmpfs = {
	.name = "tmpfs", .dax = PM_NO, .magic = TMPFS_MAGIC, .has_unnamed_files = true,
	.mount = "tmpfs tmpfs rw,size=1g"};
const struct fake_machine fake_shim = {
	.name = "shim that ignores flags", .dax = PM_YES, .sync = FAKE_IGNORES_FLAGS, .magic = EXT4_SUPER_MAGIC,
	.region = &real, .has_unnamed_files = true};
const struct fake_machine fake_forced = {
	.name = "forced to pages", .dax = PM_YES, .sync = FAKE_ACCEPTS, .magic = EXT4_SUPER_MAGIC, .region = &real,
	.has_unnamed_files = true, .granularity_word = "page"};
const struct fake_machine fake_weak_cpu = {
	.name = "CPU that promises nothing", .dax = PM_YES, .sync = FAKE_ACCEPTS, .magic = EXT4_SUPER_MAGIC,
	.region = &real, .has_unnamed_files = true, .cpu_stops_short = true, .cpu_only_stores = true};
const struct fake_machine fake_gvisor = {
	.name = "sandbox without DAX in the mask", .dax = PM_UNKNOWN, .sync = FAKE_IGNORES_FLAGS, .magic = 0x01021997};
const struct fake_machine fake_block_device = {
	.name = "block device", .dax = PM_NO, .is_block_device = true, .region = &real};
/* Of which it must be searched for, in an unnamed file or without, whether they have fast commits. */
const struct fake_machine fake_counted = {
	.name = "ext4 that counts", .dax = PM_YES, .sync = FAKE_ACCEPTS, .magic = EXT4_SUPER_MAGIC, .region = &real,
	.has_unnamed_files = true, .mount = "ext4 /dev/pmem0 rw,dax=always", .fast_commit = FAKE_COUNTERS_OFF};
const struct fake_machine fake_counted_by_commits = {
	.name = "ext4 that counts commits", .dax = PM_YES, .sync = FAKE_ACCEPTS, .magic = EXT4_SUPER_MAGIC,
		.region = &real,
	.mount = "ext4 /dev/pmem0 rw,dax=always", .fast_commit = FAKE_COUNTERS_OFF};

const struct fake_machine *const fake_machines[] = {
	&fake_plain, &fake_dax, &fake_dax_no_domain, &fake_xfs_reflink, &fake_e820, &fake_virtio_pmem, &fake_eadr,
	&fake_device_dax, &fake_tmpfs, &fake_shim, &fake_forced, &fake_weak_cpu, &fake_gvisor, &fake_block_device};
const unsigned fake_machines_count = sizeof(fake_machines) / sizeof(fake_machines[0]);
