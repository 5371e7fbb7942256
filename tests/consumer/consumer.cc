// SPDX-License-Identifier: BSD-3-Clause
// The same from C++: the handle owned by a smart pointer, the error an exception. Usage: consumer FILE
#include <cstring>
#include <iostream>
#include <memory>
#include <pmdirect.h>
#include <stdexcept>

namespace {

struct unmap {
	void operator()(pm_mapping *mapping) const { pm_unmap(mapping); }
};
using handle = std::unique_ptr<pm_mapping, unmap>;

handle map(const char *path)
{
	pm_options options{};
	options.size = sizeof(options);
	options.flags = PM_CREATE;
	options.length = 4096;
	pm_mapping *mapping = nullptr;
	if (pm_map(path, &options, &mapping))
		throw std::runtime_error(pm_error_detail());
	return handle(mapping);
}

} // namespace

int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	try {
		handle mapping = map(argv[1]);
		char *base = static_cast<char *>(pm_base(mapping.get()));
		if (pm_memcpy(mapping.get(), base, "kept", 5, 0) || std::strcmp(base, "kept") != 0)
			return 1;
		std::cout << "C++: " << pm_granularity_name(pm_granularity_of(mapping.get())) << '\n';
	} catch (const std::exception &error) {
		std::cerr << error.what() << '\n';
		return 1;
	}
	return 0;
}
