// SPDX-License-Identifier: BSD-3-Clause
// Runs conformance.script by the C++ interface. Usage: script SCRIPT, in an empty directory
#include <cstring>
#include <fcntl.h>
#include <iostream>
#include <pmdirect.hpp>
#include <unistd.h>

#include "conformance.h"

namespace {

pmdirect::mapping mapping;
std::error_code code;

char *at(long long offset)
{
	return static_cast<char *>(mapping.base()) + offset;
}

std::size_t length_of(const line &line, int word)
{
	return static_cast<std::size_t>(number(&line, word));
}

pmdirect::const_bytes text_of(const line &line)
{
	return pmdirect::const_bytes(line.word[2], std::strlen(line.word[2]));
}

void result()
{
	if (code && code.category() != pmdirect::category())
		std::cout << "another category" << std::endl;
	else
		std::cout << -code.value() << std::endl;
}

template <class Value> void print(const Value &value)
{
	if (code)
		result();
	else
		std::cout << value << std::endl;
}

// ---- Life ----

pmdirect::options options_of(unsigned flags, std::uint64_t length)
{
	pmdirect::options options;
	options.flags = flags;
	options.length = length;
	return options;
}

void map_descriptor(const line &line)
{
	pmdirect::options options = options_of(static_cast<unsigned>(number(&line, 2)), length_of(line, 3));
	int fd = open(line.word[1], O_RDWR | O_CLOEXEC);
	if (mapping && fd >= 0) {
		close(fd);
		code = std::error_code(EBUSY, pmdirect::category()); // the script has one mapping
		return;
	}
	mapping = pmdirect::mapping(fd, options, code);
	if (!(options.flags & PM_BORROW_FD))
		close(fd);
}

bool life(const line &line)
{
	pmdirect::options options = options_of(static_cast<unsigned>(number(&line, 2)), length_of(line, 3));
	if (is(&line, "map")) {
		mapping = pmdirect::mapping(line.word[1], options, code);
	} else if (is(&line, "map-at")) {
		options = options_of(0, length_of(line, 3));
		options.offset = length_of(line, 2);
		mapping = pmdirect::mapping(line.word[1], options, code);
	} else if (is(&line, "guarantee")) {
		options.sync = PM_GUARANTEE;
		options.length = options.flags & PM_CREATE ? 4096 : 0;
		mapping = pmdirect::mapping(line.word[1], options, code);
	} else if (is(&line, "map-fd")) {
		map_descriptor(line);
	} else if (is(&line, "resize")) {
		mapping.resize(length_of(line, 1), code);
	} else if (is(&line, "give-up")) {
		mapping.give_up(at(number(&line, 1)), length_of(line, 2), code);
	} else if (is(&line, "unmap")) {
		mapping.unmap(code);
	} else {
		return false;
	}
	result();
	return true;
}

// ---- Durability ----

void commit(const line &line)
{
	std::vector<pm_range> ranges;
	for (int i = 1; i < line.count; i++) {
		char *colon;
		char *address = at(std::strtoll(line.word[i], &colon, 10));
		ranges.push_back({address, std::strtoul(colon + 1, nullptr, 10)});
	}
	mapping.commit(ranges, code);
}

bool durability(const line &line)
{
	char *address = mapping && line.count > 1 ? at(number(&line, 1)) : nullptr;
	pmdirect::const_bytes range(address, length_of(line, 2));
	if (is(&line, "flush"))
		mapping.flush(range, code);
	else if (is(&line, "drain"))
		mapping.drain(code);
	else if (is(&line, "persist"))
		mapping.persist(range, code);
	else if (is(&line, "deep-persist"))
		mapping.deep_persist(range, code);
	else if (is(&line, "sync"))
		mapping.sync(code);
	else if (is(&line, "commit"))
		commit(line);
	else if (is(&line, "publish"))
		mapping.publish(reinterpret_cast<std::uint64_t *>(address), length_of(line, 2), code);
	else if (is(&line, "clear-error"))
		mapping.clear_error(code);
	else if (is(&line, "clear-bad-blocks"))
		mapping.clear_bad_blocks({reinterpret_cast<std::byte *>(address), range.size()}, code);
	else
		return false;
	result();
	return true;
}

bool copies(const line &line)
{
	char *address = mapping && line.count > 1 ? at(number(&line, 1)) : nullptr;
	unsigned flags = static_cast<unsigned>(number(&line, line.count - 1));
	char bytes[64];
	if (is(&line, "store"))
		std::memcpy(address, line.word[2], std::strlen(line.word[2]));
	else if (is(&line, "copy"))
		mapping.copy(address, text_of(line), flags, code);
	else if (is(&line, "move"))
		mapping.move(address, {at(number(&line, 2)), length_of(line, 3)}, flags, code);
	else if (is(&line, "fill"))
		mapping.set(address, static_cast<int>(number(&line, 2)), length_of(line, 3), flags, code);
	else if (is(&line, "write"))
		mapping.write(address, text_of(line), code);
	else if (is(&line, "load"))
		return print(std::string(address, length_of(line, 2))), true;
	else if (is(&line, "word"))
		return print(*mapping.as<std::uint64_t>(length_of(line, 1))), true;
	else if (is(&line, "read"))
		return mapping.read(bytes, {address, length_of(line, 2)}, code),
		       print(std::string(bytes, length_of(line, 2))), true;
	else
		return false;
	result();
	return true;
}

// ---- Truth ----

void print_quirks(const pmdirect::report &report)
{
	std::string names;
	for (std::size_t i = 0; report.quirk(i); i++)
		names += (i ? " " : "") + std::string(report.quirk(i)->name);
	print(names.empty() ? "none" : names);
}

void print_report(const pmdirect::report &report, const std::string &field)
{
	if (code)
		result();
	else if (field == "granularity")
		print(pm_granularity_name(report.granularity));
	else if (field == "sync" || field == "direct")
		print(pm_state_name(field == "sync" ? report.sync : report.direct));
	else if (field == "verdict")
		print(pm_verdict_name(report.verdict));
	else if (field == "reason")
		print(pm_reason_name(report.reason));
	else if (field == "advice")
		print(pm_advice_name(report.advice));
	else if (field == "explain")
		print(report.explain());
	else if (field == "quirks")
		print_quirks(report);
	else
		print(field == "grade"          ? static_cast<long long>(report.grade)
		      : field == "sync-request" ? static_cast<long long>(report.sync_request)
		      : field == "error"        ? static_cast<long long>(report.error)
		      : field == "offset"       ? static_cast<long long>(report.offset)
		      : field == "length"       ? static_cast<long long>(report.length)
		                                : static_cast<long long>(report.size));
}

bool reports(const line &line)
{
	std::string field = line.word[line.count - 1];
	if (is(&line, "query")) {
		print_report(mapping.query(code), field);
	} else if (is(&line, "evidence")) {
		pmdirect::report report = mapping.query(code);
		print(pm_state_name(report[static_cast<pm_evidence_row>(number(&line, 1))].state));
	} else if (is(&line, "probe")) {
		print_report(pmdirect::probe(line.word[1], pmdirect::options(), code), field);
	} else if (is(&line, "probe-fd")) {
		int fd = open(line.word[1], O_RDWR | O_CLOEXEC);
		print_report(pmdirect::probe(fd, pmdirect::options(), code), field);
		close(fd);
	} else if (is(&line, "statistics")) {
		struct pm_statistics counts = mapping.statistics(code);
		print(field == "flushes" ? counts.flushes : field == "demotions" ? counts.demotions : counts.size);
	} else {
		return false;
	}
	return true;
}

std::string name_of(const std::string &kind, int value)
{
	return kind == "granularity" ? pm_granularity_name(static_cast<pm_granularity>(value))
	       : kind == "state"     ? pm_state_name(static_cast<pm_state>(value))
	       : kind == "request"   ? pm_request_name(static_cast<pm_request>(value))
	       : kind == "access"    ? pm_access_name(static_cast<pm_access>(value))
	       : kind == "grade"     ? pm_grade_name(static_cast<pm_grade>(value))
	       : kind == "verdict"   ? pm_verdict_name(static_cast<pm_verdict>(value))
	       : kind == "evidence"  ? pm_evidence_name(static_cast<pm_evidence_row>(value))
	       : kind == "advice"    ? pm_advice_name(static_cast<pm_advice>(value))
	       : kind == "event"     ? pm_event_name(static_cast<pm_event_kind>(value))
	                             : pm_reason_name(static_cast<pm_reason>(value));
}

std::string next_event()
{
	std::optional<pm_event> event = mapping.next_event(code);
	return event ? pm_event_name(event->kind) : "none";
}

// As pm_strerror(), by the category of the errors.
std::string words_of(int error)
{
	return pmdirect::category().message(error);
}

void others(const line &line)
{
	std::string header = std::to_string(PM_VERSION_MAJOR) + "." + std::to_string(PM_VERSION_MINOR) + "." +
			     std::to_string(PM_VERSION_PATCH);
	if (is(&line, "version"))
		print(header == pm_version() ? "same" : "another");
	else if (is(&line, "detail"))
		print(std::strstr(pm_error_detail(), line.word[1]) ? "named" : "not named");
	else if (is(&line, "length"))
		print(mapping.size());
	else if (is(&line, "granularity"))
		print(pm_granularity_name(mapping.granularity()));
	else if (is(&line, "find"))
		print(pm_find(at(number(&line, 1))) == mapping.get() ? "mine" : "none");
	else if (is(&line, "event-fd"))
		print(mapping.event_fd(code) > 2 ? "ok" : "not ok");
	else if (is(&line, "event"))
		print(next_event());
	else if (is(&line, "truncate"))
		print(truncate(line.word[1], number(&line, 2)));
	else if (is(&line, "exists"))
		print(access(line.word[1], F_OK) ? "no" : "yes");
	else if (is(&line, "name"))
		print(name_of(line.word[1], static_cast<int>(number(&line, 2))));
	else if (is(&line, "strerror"))
		print(words_of(static_cast<int>(number(&line, 1))));
	else
		print("?");
}

} // namespace

int main(int argc, char **argv)
{
	FILE *script = argc == 2 ? std::fopen(argv[1], "re") : nullptr;
	struct line line;
	if (!script)
		return 2;
	setvbuf(stdout, nullptr, _IONBF, 0); // the command by printf(), the result by std::cout
	while (next_line(script, &line)) {
		code.clear();
		if (!life(line) && !durability(line) && !copies(line) && !reports(line))
			others(line);
	}
	std::fclose(script);
	return 0;
}
