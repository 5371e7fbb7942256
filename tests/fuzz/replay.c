/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Runs each file of a directory as an input, whole and cut off at each of some places. Usage: replay DIRECTORY. With
 * libFuzzer its own main() does the same: texts DIRECTORY -runs=0
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

static int run(const char *directory, const char *name)
{
	char path[512];
	static uint8_t input[65536];
	snprintf(path, sizeof(path), "%s/%s", directory, name);
	FILE *file = fopen(path, "re");
	if (!file)
		return -1;
	size_t length = fread(input, 1, sizeof(input), file);
	fclose(file);
	printf("%s\n", name);
	fflush(stdout);
	int rc = LLVMFuzzerTestOneInput(input, length);
	if (!rc && !fuzz_text_was_read) {
		printf("its text was not asked for\n");
		rc = -1;
	}
	for (size_t cut = 2; !rc && cut < length; cut += 1 + length / 8)
		LLVMFuzzerTestOneInput(input, cut);
	return rc;
}

int main(int argc, char **argv)
{
	DIR *directory = argc == 2 ? opendir(argv[1]) : NULL;
	unsigned count = 0, failed = 0;
	if (!directory)
		return 2;
	for (const struct dirent *entry; (entry = readdir(directory));) {
		if (entry->d_name[0] == '.')
			continue;
		count++;
		failed += run(argv[1], entry->d_name) != 0;
	}
	closedir(directory);
	fuzz_end();
	printf("%u inputs, %u show nothing\n", count, failed);
	return !count || failed;
}
