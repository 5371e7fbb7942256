/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * seal encrypt DIRECTORY: files made in it from now on are encrypted (fscrypt(7) of the kernel's documentation).
 * seal verity FILE: it can only be read from now on, and is checked (fsverity).
 */
#include <fcntl.h>
#include <linux/fscrypt.h>
#include <linux/fsverity.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

static int encrypt(int fd)
{
	union {
		struct fscrypt_add_key_arg arg;
		char room[sizeof(struct fscrypt_add_key_arg) + FSCRYPT_MAX_KEY_SIZE];
	} key = {.arg = {.key_spec.type = FSCRYPT_KEY_SPEC_TYPE_IDENTIFIER, .raw_size = FSCRYPT_MAX_KEY_SIZE}};
	struct fscrypt_policy_v2 policy = {.version = FSCRYPT_POLICY_V2,
	                                   .contents_encryption_mode = FSCRYPT_MODE_AES_256_XTS,
	                                   .filenames_encryption_mode = FSCRYPT_MODE_AES_256_CTS,
	                                   .flags = FSCRYPT_POLICY_FLAGS_PAD_32};
	if (ioctl(fd, FS_IOC_ADD_ENCRYPTION_KEY, &key.arg))
		return -1;
	memcpy(policy.master_key_identifier, key.arg.key_spec.u.identifier, sizeof(policy.master_key_identifier));
	return ioctl(fd, FS_IOC_SET_ENCRYPTION_POLICY, &policy);
}

static int verity(int fd)
{
	struct fsverity_enable_arg arg = {
		.version = 1, .hash_algorithm = FS_VERITY_HASH_ALG_SHA256, .block_size = 4096};
	return ioctl(fd, FS_IOC_ENABLE_VERITY, &arg);
}

int main(int argc, char **argv)
{
	int fd = argc == 3 ? open(argv[2], O_RDONLY) : -1;
	if (fd < 0)
		return fprintf(stderr, "usage: %s encrypt DIRECTORY | verity FILE\n", argv[0]), 2;
	if (strcmp(argv[1], "encrypt") ? verity(fd) : encrypt(fd))
		return perror(argv[1]), 1;
	return 0;
}
