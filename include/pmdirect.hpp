// SPDX-License-Identifier: BSD-3-Clause
//
// pmdirect.hpp - pmdirect.h for C++17: mappings that end with their scope, ranges, std::error_code
//
// Each function exists twice, as in <filesystem>: one throws pmdirect::error, the other takes a std::error_code last,
// sets it, and throws nothing. What a function promises stands in pmdirect.h and in its page of the manual.
//
//   pmdirect::options options;
//   options.flags = PM_CREATE;
//   options.length = 4096;
//   pmdirect::mapping mapping("greeting.txt", options);
//   std::strcpy(mapping.as<char>(), "hello, durable world");
//   mapping.persist(mapping.bytes().first(21));
//   mapping.unmap(); // throws if the last write-back failed; the destructor ends the mapping too, and says nothing
//
#ifndef PMDIRECT_HPP
#define PMDIRECT_HPP
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <iterator>
#include <optional>
#include <pmdirect.h>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

namespace pmdirect {

// ---- Errors ----

// What errno(3) has no name for: error == pmdirect::errc::not_sync.
enum class errc { not_sync = PM_ENOTSYNC, not_direct = PM_ENOTDIRECT, volatile_backing = PM_EVOLATILE };

// Values are positive: errno or PM_E codes. Those of errno equal the std::errc of the same name.
class category_type : public std::error_category {
public:
	const char *name() const noexcept override { return "pmdirect"; }
	std::string message(int value) const override { return pm_strerror(value); }
	std::error_condition default_error_condition(int value) const noexcept override
	{
		if (value >= PM_ENOTSYNC && value <= PM_EVOLATILE)
			return std::error_condition(value, *this);
		return std::error_condition(value, std::generic_category());
	}
};

inline const std::error_category &category() noexcept
{
	static const category_type instance;
	return instance;
}

inline std::error_code make_error_code(errc value) noexcept
{
	return std::error_code(static_cast<int>(value), category());
}

inline std::error_condition make_error_condition(errc value) noexcept
{
	return std::error_condition(static_cast<int>(value), category());
}

// what() is the sentence of pm_error_detail(), with the words for the code behind it.
class error : public std::system_error {
public:
	explicit error(std::error_code code) : std::system_error(code, pm_error_detail()) {}
};

namespace detail {

inline std::error_code code(int result) noexcept
{
	return result < 0 ? std::error_code(-result, category()) : std::error_code();
}

inline void throw_if(const std::error_code &code)
{
	if (code)
		throw error(code);
}

// As pm_explain() and its like give them: once for the length, once for the text.
template <class Subject>
std::string sentences(int (*explain)(const Subject *, char *, std::size_t), const Subject &subject)
{
	int length = explain(&subject, nullptr, 0);
	std::string text(static_cast<std::size_t>(length > 0 ? length : 0) + 1, '\0');
	explain(&subject, &text[0], text.size());
	text.pop_back();
	return text;
}

} // namespace detail

// ---- Ranges ----

// As std::span, which C++17 has not: an address and a length. Made of anything that has data() and size().
template <class T> class span {
public:
	using element_type = T;
	using value_type = std::remove_cv_t<T>;
	using iterator = T *;

	constexpr span() noexcept = default;
	constexpr span(T *data, std::size_t size) noexcept : data_(data), size_(size) {}
	template <std::size_t N> constexpr span(T (&array)[N]) noexcept : data_(array), size_(N) {}
	template <class C, class = std::enable_if_t<std::is_convertible_v<
				   std::remove_pointer_t<decltype(std::data(std::declval<C &>()))> (*)[], T (*)[]>>>
	constexpr span(C &&container) noexcept : data_(std::data(container)), size_(std::size(container))
	{
	}

	constexpr T *data() const noexcept { return data_; }
	constexpr std::size_t size() const noexcept { return size_; }
	constexpr std::size_t size_bytes() const noexcept { return size_ * sizeof(T); }
	constexpr bool empty() const noexcept { return size_ == 0; }
	constexpr T *begin() const noexcept { return data_; }
	constexpr T *end() const noexcept { return data_ + size_; }
	constexpr T &operator[](std::size_t at) const noexcept { return data_[at]; }
	constexpr span first(std::size_t count) const noexcept { return span(data_, count); }
	constexpr span subspan(std::size_t from, std::size_t count) const noexcept { return span(data_ + from, count); }
	constexpr span subspan(std::size_t from) const noexcept { return span(data_ + from, size_ - from); }

private:
	T *data_ = nullptr;
	std::size_t size_ = 0;
};

// Bytes to make durable, or to copy: of a span, of a container, or of one object by range_of().
class const_bytes {
public:
	constexpr const_bytes(const void *data, std::size_t size) noexcept : data_(data), size_(size) {}
	template <class C, class = decltype(std::data(std::declval<const C &>()))>
	constexpr const_bytes(const C &container) noexcept
	    : data_(std::data(container)), size_(std::size(container) * sizeof(*std::data(container)))
	{
		static_assert(std::is_trivially_copyable_v<std::remove_reference_t<decltype(*std::data(container))>>,
			      "only bytes can be durable");
	}
	constexpr const void *data() const noexcept { return data_; }
	constexpr std::size_t size() const noexcept { return size_; }

private:
	const void *data_;
	std::size_t size_;
};

template <class T> constexpr const_bytes range_of(const T &object) noexcept
{
	static_assert(std::is_trivially_copyable_v<T>, "only bytes can be durable");
	return const_bytes(&object, sizeof(object));
}

// ---- Options, report ----

struct options : pm_options {
	options() noexcept : pm_options() { size = sizeof(pm_options); }
};

struct report : pm_report {
	report() noexcept : pm_report() {}

	// Sentences for a person: pm_explain(3).
	std::string explain() const
	{
		return detail::sentences<pm_report>(pm_explain, *this);
	}
	// What the kernel is known to do wrong with such files, one by one: pm_quirk(3).
	const struct pm_quirk *quirk(std::size_t index) const noexcept { return ::pm_quirk(this, index); }
	const pm_evidence &operator[](pm_evidence_row row) const noexcept { return evidence[row]; }
};

inline std::string explain(const pm_event &event)
{
	return detail::sentences<pm_event>(pm_explain_event, event);
}

inline report probe(const char *path, const options &wanted, std::error_code &code) noexcept
{
	report found;
	code = detail::code(pm_probe(path, &wanted, &found, sizeof(pm_report)));
	return found;
}

inline report probe(int fd, const options &wanted, std::error_code &code) noexcept
{
	report found;
	code = detail::code(pm_probe_fd(fd, &wanted, &found, sizeof(pm_report)));
	return found;
}

template <class Where> report probe(const Where &where, const options &wanted = options())
{
	std::error_code code;
	report found;
	if constexpr (std::is_integral_v<Where>)
		found = probe(static_cast<int>(where), wanted, code);
	else
		found = probe(std::string(where).c_str(), wanted, code);
	detail::throw_if(code);
	return found;
}

// ---- The mapping ----

// Owns a pm_mapping. The destructor calls pm_unmap(), which drains, and drops its error: call unmap() to see it.
class mapping {
public:
	mapping() noexcept = default;
	explicit mapping(const std::string &path, const pmdirect::options &wanted = pmdirect::options())
	{
		check(pm_map(path.c_str(), &wanted, &handle_));
	}
	mapping(const std::string &path, const pmdirect::options &wanted, std::error_code &code) noexcept
	{
		code = detail::code(pm_map(path.c_str(), &wanted, &handle_));
	}
	// An open file: pm_map_fd(3) says what becomes of the descriptor.
	explicit mapping(int fd, const pmdirect::options &wanted = pmdirect::options())
	{
		check(pm_map_fd(fd, &wanted, &handle_));
	}
	mapping(int fd, const pmdirect::options &wanted, std::error_code &code) noexcept
	{
		code = detail::code(pm_map_fd(fd, &wanted, &handle_));
	}
	// Takes over what C code has mapped.
	explicit mapping(pm_mapping *handle) noexcept : handle_(handle) {}
	mapping(mapping &&other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
	mapping &operator=(mapping &&other) noexcept
	{
		if (this != &other) {
			if (handle_)
				pm_unmap(handle_);
			handle_ = std::exchange(other.handle_, nullptr);
		}
		return *this;
	}
	mapping(const mapping &) = delete;
	mapping &operator=(const mapping &) = delete;
	~mapping()
	{
		if (handle_)
			pm_unmap(handle_);
	}

	// Ends the mapping, whatever the result; without one it does nothing.
	void unmap()
	{
		std::error_code code;
		unmap(code);
		detail::throw_if(code);
	}
	void unmap(std::error_code &code) noexcept
	{
		code = handle_ ? detail::code(pm_unmap(std::exchange(handle_, nullptr))) : std::error_code();
	}

	explicit operator bool() const noexcept { return handle_ != nullptr; }
	pm_mapping *get() const noexcept { return handle_; }
	pm_mapping *release() noexcept { return std::exchange(handle_, nullptr); }

	void *base() const noexcept { return pm_base(handle_); }
	std::size_t size() const noexcept { return static_cast<std::size_t>(pm_length(handle_)); }
	pm_granularity granularity() const noexcept { return pm_granularity_of(handle_); }
	span<std::byte> bytes() const noexcept { return span<std::byte>(as<std::byte>(), size()); }
	// The object at an offset; the caller knows that it is one.
	template <class T> T *as(std::size_t offset = 0) const noexcept
	{
		static_assert(std::is_trivially_copyable_v<T>, "only bytes can be durable");
		return reinterpret_cast<T *>(static_cast<char *>(base()) + offset);
	}

	// ---- Durability: each as the C function of its name, which pmdirect.h describes ----

	void resize(std::uint64_t length) { check(pm_resize(handle_, length)); }
	void resize(std::uint64_t length, std::error_code &code) noexcept
	{
		code = detail::code(pm_resize(handle_, length));
	}
	void give_up(void *address, std::size_t length) { check(pm_give_up(handle_, address, length)); }
	void give_up(void *address, std::size_t length, std::error_code &code) noexcept
	{ code = detail::code(pm_give_up(handle_, address, length)); }

	void flush(const_bytes range) { check(pm_flush(handle_, range.data(), range.size())); }
	void flush(const_bytes range, std::error_code &code) noexcept
	{
		code = detail::code(pm_flush(handle_, range.data(), range.size()));
	}

	void drain() { check(pm_drain(handle_)); }
	void drain(std::error_code &code) noexcept { code = detail::code(pm_drain(handle_)); }

	void persist(const_bytes range) { check(pm_persist(handle_, range.data(), range.size())); }
	void persist(const_bytes range, std::error_code &code) noexcept
	{
		code = detail::code(pm_persist(handle_, range.data(), range.size()));
	}

	void commit(span<const pm_range> ranges) { check(pm_commit(handle_, ranges.data(), ranges.size())); }
	void commit(span<const pm_range> ranges, std::error_code &code) noexcept
	{
		code = detail::code(pm_commit(handle_, ranges.data(), ranges.size()));
	}

	void publish(std::uint64_t *address, std::uint64_t value) { check(pm_publish64(handle_, address, value)); }
	void publish(std::uint64_t *address, std::uint64_t value, std::error_code &code) noexcept
	{
		code = detail::code(pm_publish64(handle_, address, value));
	}

	void deep_persist(const_bytes range) { check(pm_deep_persist(handle_, range.data(), range.size())); }
	void deep_persist(const_bytes range, std::error_code &code) noexcept
	{
		code = detail::code(pm_deep_persist(handle_, range.data(), range.size()));
	}

	void sync() { check(pm_sync(handle_)); }
	void sync(std::error_code &code) noexcept { code = detail::code(pm_sync(handle_)); }

	void copy(void *destination, const_bytes source, unsigned flags = 0)
	{
		check(pm_memcpy(handle_, destination, source.data(), source.size(), flags));
	}
	void copy(void *destination, const_bytes source, unsigned flags, std::error_code &code) noexcept
	{
		code = detail::code(pm_memcpy(handle_, destination, source.data(), source.size(), flags));
	}

	void move(void *destination, const_bytes source, unsigned flags = 0)
	{
		check(pm_memmove(handle_, destination, source.data(), source.size(), flags));
	}
	void move(void *destination, const_bytes source, unsigned flags, std::error_code &code) noexcept
	{
		code = detail::code(pm_memmove(handle_, destination, source.data(), source.size(), flags));
	}

	void set(void *destination, int value, std::size_t length, unsigned flags = 0)
	{
		check(pm_memset(handle_, destination, value, length, flags));
	}
	void set(void *destination, int value, std::size_t length, unsigned flags, std::error_code &code) noexcept
	{
		code = detail::code(pm_memset(handle_, destination, value, length, flags));
	}

	void read(void *destination, const_bytes source)
	{
		check(pm_read(handle_, destination, source.data(), source.size()));
	}
	void read(void *destination, const_bytes source, std::error_code &code) noexcept
	{
		code = detail::code(pm_read(handle_, destination, source.data(), source.size()));
	}

	void write(void *destination, const_bytes source)
	{
		check(pm_write(handle_, destination, source.data(), source.size()));
	}
	void write(void *destination, const_bytes source, std::error_code &code) noexcept
	{
		code = detail::code(pm_write(handle_, destination, source.data(), source.size()));
	}

	void clear_bad_blocks(span<std::byte> range)
	{
		check(pm_clear_bad_blocks(handle_, range.data(), range.size()));
	}
	void clear_bad_blocks(span<std::byte> range, std::error_code &code) noexcept
	{
		code = detail::code(pm_clear_bad_blocks(handle_, range.data(), range.size()));
	}

	void clear_error() { check(pm_clear_error(handle_)); }
	void clear_error(std::error_code &code) noexcept { code = detail::code(pm_clear_error(handle_)); }

	// ---- Truth ----

	pmdirect::report query(std::error_code &code) noexcept
	{
		pmdirect::report found;
		code = detail::code(pm_query(handle_, &found, sizeof(pm_report)));
		return found;
	}
	pmdirect::report query()
	{
		std::error_code code;
		pmdirect::report found = query(code);
		detail::throw_if(code);
		return found;
	}

	struct pm_statistics statistics(std::error_code &code) const noexcept
	{
		struct pm_statistics found = {};
		code = detail::code(::pm_statistics(handle_, &found, sizeof(found)));
		return found;
	}
	struct pm_statistics statistics() const
	{
		std::error_code code;
		struct pm_statistics found = statistics(code);
		detail::throw_if(code);
		return found;
	}

	int event_fd(std::error_code &code) noexcept
	{
		int fd = pm_event_fd(handle_);
		code = detail::code(fd);
		return fd;
	}
	int event_fd()
	{
		std::error_code code;
		int fd = event_fd(code);
		detail::throw_if(code);
		return fd;
	}

	// Nothing, and no error, where there is no event.
	std::optional<pm_event> next_event(std::error_code &code) noexcept
	{
		pm_event event = {};
		int result = pm_next_event(handle_, &event, sizeof(event));
		code = result == -EAGAIN ? std::error_code() : detail::code(result);
		return result ? std::nullopt : std::optional<pm_event>(event);
	}
	std::optional<pm_event> next_event()
	{
		std::error_code code;
		std::optional<pm_event> event = next_event(code);
		detail::throw_if(code);
		return event;
	}

	// ---- Faults ----

	// Calls function() under pm_guarded(3), which needs a guard. A fault ends it at the access and runs no
	// destructor of it. An exception of the function arrives here.
	template <class Function> pm_fault guarded(Function &&function, std::error_code &code)
	{
		guarded_call<Function> call = {function, nullptr};
		pm_fault fault = {};
		code = detail::code(pm_guarded(handle_, guarded_call<Function>::run, &call, &fault, sizeof(fault)));
		if (call.thrown)
			std::rethrow_exception(call.thrown);
		return fault;
	}
	template <class Function> void guarded(Function &&function)
	{
		std::error_code code;
		guarded(std::forward<Function>(function), code);
		detail::throw_if(code);
	}

private:
	template <class Function> struct guarded_call {
		std::remove_reference_t<Function> &function;
		std::exception_ptr thrown;

		static int run(void *arg) noexcept
		{
			guarded_call *call = static_cast<guarded_call *>(arg);
			try {
				call->function();
			} catch (...) {
				call->thrown = std::current_exception();
			}
			return 0;
		}
	};

	static void check(int result) { detail::throw_if(detail::code(result)); }

	pm_mapping *handle_ = nullptr;
};

// pm_guard_install(3) for a scope: mapping::guarded() needs one.
class guard {
public:
	guard() { detail::throw_if(detail::code(pm_guard_install())); }
	guard(const guard &) = delete;
	guard &operator=(const guard &) = delete;
	~guard() { pm_guard_remove(); }
};

} // namespace pmdirect

namespace std {
template <> struct is_error_code_enum<pmdirect::errc> : true_type {};
} // namespace std

#endif
