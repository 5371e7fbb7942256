// SPDX-License-Identifier: BSD-3-Clause
// What only the C++ interface has: who owns a mapping, exceptions, errors that compare, ranges. Usage: wrapper, in a
// directory whose file system is not volatile
#include <array>
#include <cstring>
#include <fcntl.h>
#include <iostream>
#include <pmdirect.hpp>
#include <sys/mman.h>
#include <unistd.h>

namespace {

int failures;

#define EXPECT(condition)                                                                                              \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			std::cout << __FILE__ << ':' << __LINE__ << ": " << #condition << std::endl;                   \
			failures++;                                                                                    \
		}                                                                                                      \
	} while (0)

struct record {
	std::uint64_t number;
	char name[24];
};

struct not_bytes {
	std::string text;
};

static_assert(!std::is_copy_constructible_v<pmdirect::mapping>);
static_assert(!std::is_copy_assignable_v<pmdirect::mapping>);
static_assert(std::is_nothrow_move_constructible_v<pmdirect::mapping>);
static_assert(std::is_nothrow_move_assignable_v<pmdirect::mapping>);
static_assert(!std::is_convertible_v<pm_mapping *, pmdirect::mapping>);
static_assert(std::is_constructible_v<pmdirect::span<const int>, std::vector<int>>);
static_assert(!std::is_constructible_v<pmdirect::span<int>, const std::vector<int> &>);
static_assert(!std::is_constructible_v<pmdirect::span<const int>, std::vector<long>>);
static_assert(std::is_convertible_v<std::string, pmdirect::const_bytes>);

pmdirect::options created(std::uint64_t length)
{
	pmdirect::options options;
	options.flags = PM_CREATE;
	options.length = length;
	return options;
}

// Whether memory is mapped there: mincore(2) fails where nothing is.
bool is_mapped(void *address)
{
	unsigned char resident;
	return mincore(address, 1, &resident) == 0;
}

void mappings_end_with_their_scope()
{
	void *base;
	{
		pmdirect::mapping mapping("scope", created(4096));
		base = mapping.base();
		EXPECT(is_mapped(base));
	}
	EXPECT(!is_mapped(base));
}

void mappings_move()
{
	pmdirect::mapping first("first", created(4096)), second("second", created(8192));
	void *base = first.base(), *other = second.base();
	pmdirect::mapping moved(std::move(first));
	EXPECT(!first && moved.base() == base && first.size() == 0);
	moved = std::move(second);
	EXPECT(!is_mapped(base) && moved.base() == other && moved.size() == 8192);
	pmdirect::mapping &same = moved;
	moved = std::move(same);
	EXPECT(moved.base() == other);
	pm_mapping *handle = moved.release();
	EXPECT(!moved && is_mapped(other));
	pmdirect::mapping taken(handle);
	taken.unmap();
	EXPECT(!taken && !is_mapped(other));
	taken.unmap(); // nothing any more
}

void errors_are_what_they_are()
{
	std::error_code code;
	pmdirect::mapping mapping("missing", pmdirect::options(), code);
	EXPECT(!mapping && code == std::errc::no_such_file_or_directory && code.category() == pmdirect::category());
	try {
		pmdirect::mapping thrown("missing");
		EXPECT(!"thrown");
	} catch (const std::system_error &error) {
		EXPECT(error.code() == std::errc::no_such_file_or_directory);
		EXPECT(std::strstr(error.what(), "missing"));
	}
	pmdirect::options options;
	options.flags = PM_ANONYMOUS;
	options.length = 4096;
	options.sync = PM_GUARANTEE;
	struct pm_mapping *none = nullptr;
	code = pmdirect::detail::code(pm_map(nullptr, &options, &none));
	EXPECT(code == pmdirect::errc::volatile_backing && code != pmdirect::errc::not_sync);
	EXPECT(code.message() == pm_strerror(PM_EVOLATILE));
	EXPECT(pmdirect::make_error_code(pmdirect::errc::not_sync).value() == PM_ENOTSYNC);
	code = pmdirect::detail::code(0);
	EXPECT(!code);
}

void ranges_are_made_of_objects()
{
	pmdirect::mapping mapping("ranges", created(65536));
	record *records = mapping.as<record>(4096);
	records[1] = {7, "seven"};
	mapping.persist(pmdirect::range_of(records[1]));
	std::array<int, 4> numbers = {1, 2, 3, 4};
	mapping.copy(mapping.as<int>(), numbers);
	EXPECT(mapping.as<int>()[3] == 4);
	std::string text = "by a string";
	mapping.write(mapping.as<char>(8192), text);
	EXPECT(!std::memcmp(mapping.as<char>(8192), text.data(), text.size()));
	pmdirect::span<std::byte> bytes = mapping.bytes();
	EXPECT(bytes.size() == 65536 && bytes.subspan(4).data() == bytes.data() + 4);
	mapping.flush(bytes.first(100));
	mapping.drain();
	std::vector<pm_range> ranges = {{records, sizeof(record)}, {bytes.data(), 5}};
	mapping.commit(ranges);
	std::error_code code;
	mapping.persist(pmdirect::const_bytes(bytes.data() + 65530, 10), code);
	EXPECT(code == std::errc::result_out_of_range);
	EXPECT(mapping.statistics().size == sizeof(struct pm_statistics));
	EXPECT(mapping.query().explain().size() > 20);
	EXPECT(pmdirect::probe("ranges").length == 65536);
}

void events_are_optional()
{
	pmdirect::mapping mapping("events", created(8192));
	EXPECT(mapping.event_fd() > 2);
	while (mapping.next_event())
		;
	EXPECT(truncate("events", 4096) == 0);
	std::optional<pm_event> event = mapping.next_event();
	EXPECT(event && event->kind == PM_EVENT_TRUNCATED && event->offset == 4096);
	EXPECT(event && !pmdirect::explain(*event).empty());
	EXPECT(!mapping.next_event());
}

void faults_are_errors()
{
	pmdirect::guard guard;
	pmdirect::mapping mapping("faults", created(8192));
	EXPECT(truncate("faults", 4096) == 0);
	volatile char *beyond = mapping.as<char>(4096);
	std::error_code code;
	pm_fault fault = mapping.guarded([&] { *beyond = 1; }, code);
	EXPECT(code == std::errc::io_error && fault.offset == 4096);
	int calls = 0;
	mapping.guarded([&] { calls++; });
	EXPECT(calls == 1);
	try {
		mapping.guarded([] { throw std::string("mine"); });
		EXPECT(!"thrown");
	} catch (const std::string &mine) {
		EXPECT(mine == "mine");
	}
	// The guard is not left armed by the exception.
	mapping.guarded([&] { *beyond = 1; }, code);
	EXPECT(code == std::errc::io_error);
}

void descriptors_are_mapped()
{
	int fd = open("ranges", O_RDWR | O_CLOEXEC);
	EXPECT(pmdirect::probe(fd).verdict == pmdirect::probe("ranges").verdict);
	pmdirect::mapping mapping(fd);
	EXPECT(mapping.size() == 65536);
	close(fd);
}

} // namespace

int main()
{
	mappings_end_with_their_scope();
	mappings_move();
	errors_are_what_they_are();
	ranges_are_made_of_objects();
	events_are_optional();
	faults_are_errors();
	descriptors_are_mapped();
	return failures ? 1 : 0;
}
