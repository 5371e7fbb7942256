/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Counts the calls that make commits durable: this program's functions come before the C library's.
 *
 *   calls EXTENSION VFS PATH MODE COMMITS    prints how many fsync, fdatasync and msync succeeded in so many commits,
 *                                            checkpoints included, after as many to warm up
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common.h"

static int calls;

static int counted(long result)
{
	calls += result == 0;
	return (int)result;
}

int fsync(int fd)
{
	return counted(syscall(SYS_fsync, fd));
}

int fdatasync(int fd)
{
	return counted(syscall(SYS_fdatasync, fd));
}

int msync(void *address, size_t length, int flags)
{
	return counted(syscall(SYS_msync, address, length, flags));
}

int main(int argc, char **argv)
{
	REQUIRE(argc > 5, "see the comment");
	load_vfs(argv[1]);
	sqlite3 *db = open_database(argv[3], argv[2]);
	char *mode = sqlite3_mprintf("PRAGMA journal_mode=%s", argv[4]);
	must(db, mode);
	/* Rows are replaced, so that the database is as long as it will be, and checkpoints fall into what is counted.
	 */
	must(db, "PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=100;"
	         "CREATE TABLE IF NOT EXISTS t(a INTEGER PRIMARY KEY, b)");
	int commits = atoi(argv[5]);
	for (int i = 0; i < 2 * commits; i++) {
		if (i == commits)
			calls = 0;
		char *sql = sqlite3_mprintf("INSERT OR REPLACE INTO t VALUES(%d, zeroblob(200))", i % 100);
		must(db, sql);
		sqlite3_free(sql);
	}
	int counted_calls = calls;
	printf("%d\n", counted_calls);
	if (getenv("PRAGMA"))
		printf("%s\n", text_of(db, "PRAGMA pmdirect"));
	sqlite3_free(mode);
	sqlite3_close(db);
	return 0;
}
