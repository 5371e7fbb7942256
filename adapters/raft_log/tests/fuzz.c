/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Whatever the files of a log say, a start neither crashes nor removes a file that it then refuses. An input is changes
 * of the files of a good log, four bytes each: the file and a flag, the place in units of four bytes (two bytes), the
 * value. With the flag the checksums are made right again, as no accident would. tests/fuzz/replay.c runs the corpus;
 * scripts/fuzz makes new inputs with libFuzzer.
 */
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <fuzz.h>
#include "../store_file.h"
#include "store_test.h"

#define FILES 4u /* metadata, two segments, a snapshot */
#define RIGHT 0x80u
#define METADATA_CHECKSUM 52u
#define SEGMENT_CHECKSUM 60u
#define SNAPSHOT_CHECKSUM 84u

bool fuzz_text_was_read;

static struct image {
	char name[64];
	unsigned char *good, *bytes;
	size_t size;
} images[FILES];

/* ---- A good log -------------------------------------------------------------------------------- */

static void on_put(struct raft_io_snapshot_put *req, int status)
{
	complete(req->data, status);
}

static void put(struct io *io)
{
	char data[] = "what the machine knows";
	struct raft_buffer buf = {data, sizeof(data)};
	struct raft_snapshot snapshot = {.index = 20, .term = 2, .configuration_index = 1, .bufs = &buf, .n_bufs = 1};
	struct call c = {.put.data = &c};
	raft_configuration_init(&snapshot.configuration);
	CHECK(!raft_configuration_add(&snapshot.configuration, 1, "127.0.0.1:1", RAFT_VOTER));
	CHECK(!raft_configuration_add(&snapshot.configuration, 7, "127.0.0.1:7", RAFT_SPARE));
	CHECK(!io->io.snapshot_put(&io->io, 1000, &c.put, &snapshot, on_put));
	finish(io, &c);
	CHECK(!c.status);
	raft_configuration_close(&snapshot.configuration);
}

static void keep(struct image *image, const char *path)
{
	struct stat st;
	int fd = open(path, O_RDONLY);
	CHECK(fd >= 0 && !fstat(fd, &st));
	snprintf(image->name, sizeof(image->name), "%s", strrchr(path, '/') + 1);
	image->size = (size_t)st.st_size;
	image->good = malloc(image->size);
	image->bytes = malloc(image->size);
	CHECK(read(fd, image->good, image->size) == (ssize_t)image->size);
	close(fd);
}

static void make_good(void)
{
	struct io io;
	char path[1024];
	strcpy(directory, "/dev/shm/pmdirect-fuzz-raft-XXXXXX");
	CHECK(mkdtemp(directory) && !atexit(fuzz_end));
	open_io(&io);
	fill_log(&io, 40, 2000);
	put(&io);
	close_io(&io);
	CHECK(file("metadata", 0, path));
	keep(&images[0], path);
	for (int i = 0; i < 2; i++) {
		CHECK(file("segment", i, path), "%d", i);
		keep(&images[1 + i], path);
	}
	CHECK(file("snapshot", 0, path));
	keep(&images[3], path);
}

void fuzz_end(void)
{
	if (!directory[0])
		return;
	clean();
	rmdir(directory);
	directory[0] = 0;
}

/* ---- Changes ----------------------------------------------------------------------------------- */

static uint32_t get32(const struct image *i, size_t at)
{
	uint32_t value;
	memcpy(&value, i->bytes + at, sizeof(value));
	return value;
}

static uint64_t get64(const struct image *i, size_t at)
{
	uint64_t value;
	memcpy(&value, i->bytes + at, sizeof(value));
	return value;
}

/* At a place the checksum of all from begin to there. */
static void seal(struct image *i, size_t begin, size_t at)
{
	uint32_t checksum = pmr_checksum(0, i->bytes + begin, at - begin);
	memcpy(i->bytes + at, &checksum, sizeof(checksum));
}

/* README.md has the format. */
static void seal_records(struct image *i)
{
	uint64_t seed[2] = {get64(i, 8), get64(i, 24)};
	uint32_t chain = get32(i, SEGMENT_CHECKSUM);
	for (size_t at = RECORDS_AT; i->size - at >= RECORD && get64(i, at);) {
		uint64_t length = get32(i, at + 24);
		if (length > i->size - at - RECORD)
			break;
		memcpy(i->bytes + at + 32, &chain, sizeof(chain));
		chain = pmr_checksum(0, seed, sizeof(seed));
		chain = pmr_checksum(chain, i->bytes + at, 36);
		chain = pmr_checksum(chain, i->bytes + at + RECORD, length);
		memcpy(i->bytes + at + 36, &chain, sizeof(chain));
		at += RECORD + (length + 7) / 8 * 8;
		if (at > i->size)
			break;
	}
}

static void make_right(unsigned number)
{
	struct image *i = &images[number];
	if (number == 0) {
		seal(i, 0, METADATA_CHECKSUM);
		seal(i, PMR_PAGE, PMR_PAGE + METADATA_CHECKSUM);
	} else if (number < 3) {
		seal(i, 0, SEGMENT_CHECKSUM);
		seal_records(i);
	} else {
		uint64_t length = get64(i, 56) + get64(i, 64);
		if (length <= i->size - PMR_PAGE) {
			uint32_t content = pmr_checksum(0, i->bytes + PMR_PAGE, length);
			memcpy(i->bytes + 76, &content, sizeof(content));
		}
		seal(i, 0, SNAPSHOT_CHECKSUM);
	}
}

static void change(const uint8_t *data, size_t size)
{
	bool right[FILES] = {false};
	for (unsigned i = 0; i < FILES; i++)
		memcpy(images[i].bytes, images[i].good, images[i].size);
	for (; size >= 4; data += 4, size -= 4) {
		unsigned number = data[0] % FILES;
		size_t at = (data[1] + 256u * data[2]) * 4u % images[number].size;
		/* A file may end within four bytes. */
		size_t changed = data[0] & 0x40 && images[number].size - at >= 4 ? 4 : 1;
		memset(images[number].bytes + at, data[3], changed);
		right[number] |= data[0] & RIGHT;
	}
	for (unsigned i = 0; i < FILES; i++)
		if (right[i])
			make_right(i);
}

static void write_all(void)
{
	char path[1024];
	clean();
	for (unsigned i = 0; i < FILES; i++) {
		path_of(images[i].name, path);
		int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0600);
		CHECK(fd >= 0 && write(fd, images[i].bytes, images[i].size) == (ssize_t)images[i].size);
		close(fd);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct io io;
	char path[1024];
	if (!images[0].size)
		make_good();
	fuzz_text_was_read = true;
	change(data, size);
	write_all();
	int rc = try_open(&io, 1);
	if (!rc)
		rc = try_load(&io);
	CHECK(!rc || io.io.errmsg[0], "an error has a sentence");
	for (unsigned i = 0; rc && i < FILES; i++) {
		path_of(images[i].name, path);
		CHECK(!access(path, F_OK), "%s was removed by a start that failed: %s", images[i].name, io.io.errmsg);
	}
	close_io(&io);
	return 0;
}
