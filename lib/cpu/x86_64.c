/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Intel SDM vol. 2 CLWB, CLFLUSHOPT, CLFLUSH, SFENCE; vol. 1 10.4.6.2 on streaming stores. CLWB and
 * CLFLUSHOPT are ordered only by a store fence; CLFLUSH is ordered with stores, and fenced all the same:
 * one way for all.
 *
 * A copy never tears an aligned 8-byte word. Vol. 3 8.1.1: an access of up to 8 bytes that lies in one line is atomic;
 * a larger one may be made of several. Manuals do not say where it is cut; CPUs cut at the border of a line, at 16
 * bytes of address, or in halves of the operand. So a vector is only stored to a multiple of 8, where each of these is
 * the border of a word, and bytes before and after by stores of 4, 2 and 1, which do not leave their word. No masked
 * stores: they cost more where they meet the border of a line. Streamed stores are aligned by nature.
 *
 * SSE2 is everywhere. AVX2 saves 2 to 7 % on small copies and 10 % on long streams. AVX-512 saves another 10 % where
 * the source comes from the second-level cache (bench/copy --variants), nothing where it comes from the first, and took
 * up to a third longer where it comes from memory, while it was used there. And for 0.7 ms after a 512-bit instruction
 * the core is slower by an eighth, whatever it does (bench/between). Xeon, Cascade Lake.
 */
#include <cpuid.h>
#include <immintrin.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#include "cpu/cpu.h"

#define LINE ((uintptr_t)64)
/*
 * The first-level data cache is no smaller than this, and a second-level cache hardly larger. Without the edges of a
 * copy.
 */
#define WIDE_FROM ((size_t)32768 - LINE)
#define WIDE_TO (((size_t)2 << 20) - LINE)

/* stream_edge() */
#define EDGE_sse2 16
#define EDGE_avx2 32
/*
 * Intel, Optimization Reference Manual, "4-KByte aliasing": a load whose address equals that of an earlier store in its
 * low 12 bits waits for the store. A stream upwards, to a little ahead of its source modulo 4096, meets this in every
 * line: it took up to 2.3 times as long (Ice Lake). Downwards no load follows such a store. An AMD EPYC 9005 waits in
 * neither direction.
 */
#define ALIAS 255

const struct pm_cpu *pm_cpu_replacement;

#define DEFINE_WRITE_BACK(name, feature, instruction)                                                                  \
	__attribute__((target(feature))) static int name(const void *address, size_t length)                           \
	{                                                                                                              \
		uintptr_t end = (uintptr_t)address + length;                                                           \
		for (uintptr_t at = (uintptr_t)address & ~(LINE - 1); at < end; at += LINE)                            \
			instruction((void *)at);                                                                       \
		return 0;                                                                                              \
	}                                                                                                              \
	__attribute__((target(feature))) static int name##_and_fence(const void *address, size_t length)               \
	{                                                                                                              \
		name(address, length);                                                                                 \
		_mm_sfence();                                                                                          \
		return 0;                                                                                              \
	}

DEFINE_WRITE_BACK(write_back_clwb, "clwb", _mm_clwb)
DEFINE_WRITE_BACK(write_back_clflushopt, "clflushopt", _mm_clflushopt)
DEFINE_WRITE_BACK(write_back_clflush, "sse2", _mm_clflush)

static int fence(void)
{
	_mm_sfence();
	return 0;
}

/* ---- Stores ---- */

#define VECTOR(bytes, alignment) __attribute__((vector_size(bytes), aligned(alignment), may_alias))
typedef uint64_t VECTOR(16, 8) words2;
typedef uint64_t VECTOR(32, 8) words4;
typedef uint64_t __attribute__((may_alias)) word;
typedef uint32_t __attribute__((may_alias, aligned(1))) four_bytes;
typedef uint16_t __attribute__((may_alias, aligned(1))) two_bytes;

/*
 * volatile: exactly these stores, not merged, not cut, and not turned into a call of memcpy(3), which does not keep
 * words whole.
 */
#define STORE(type)                                                                                                    \
	do {                                                                                                           \
		type v_;                                                                                               \
		memcpy(&v_, from, sizeof(v_));                                                                         \
		*(volatile type *)(void *)to = v_;                                                                     \
		to += sizeof(v_);                                                                                      \
		from += step * sizeof(v_);                                                                             \
	} while (0)

/* Less than a word. */
#define STORE_REST(length)                                                                                             \
	do {                                                                                                           \
		if ((length) & 4)                                                                                      \
			STORE(four_bytes);                                                                             \
		if ((length) & 2)                                                                                      \
			STORE(two_bytes);                                                                              \
		if ((length) & 1)                                                                                      \
			STORE(char);                                                                                   \
	} while (0)

/* As one store: a load that needs more than one store would wait for the fence before it. */
#define PATTERN(vector, value) ((vector){0} + (unsigned char)(value) * (word)0x0101010101010101)

/* step is 1 to copy; 0 to store the same bytes again and again, as many as the largest vector has. */
#define DEFINE_STORES(name, feature, vector)                                                                           \
	__attribute__((target(feature), always_inline)) static inline void name##_some(char *to, const char *from,     \
	                                                                               size_t length, size_t step)     \
	{                                                                                                              \
		size_t head = -(uintptr_t)to & (sizeof(word) - 1);                                                     \
		if (head) {                                                                                            \
			head = head < length ? head : length;                                                          \
			STORE_REST(head);                                                                              \
			length -= head;                                                                                \
		}                                                                                                      \
		for (; length >= sizeof(vector); length -= sizeof(vector))                                             \
			STORE(vector);                                                                                 \
		if (!length)                                                                                           \
			return;                                                                                        \
		if (length & 16)                                                                                       \
			STORE(words2);                                                                                 \
		if (length & 8)                                                                                        \
			STORE(word);                                                                                   \
		STORE_REST(length);                                                                                    \
	}                                                                                                              \
	__attribute__((target(feature))) static void copy_##name(void *to, const void *from, size_t length)            \
	{                                                                                                              \
		name##_some(to, from, length, 1);                                                                      \
	}                                                                                                              \
	__attribute__((target(feature))) static void set_##name(void *to, int value, size_t length)                    \
	{                                                                                                              \
		const vector pattern = PATTERN(vector, value);                                                         \
		name##_some(to, (const char *)&pattern, length, 0);                                                    \
	}

DEFINE_STORES(sse2, "sse2", words2)
DEFINE_STORES(avx2, "avx2", words4)

/* ---- Streams ---- */

/* One line at a time, read whole before it is stored. The compiler adds the vzeroupper. */
#define STREAM_LINE(load, stream)                                                                                      \
	do {                                                                                                           \
		for (unsigned i = 0; i < PARTS; i++)                                                                   \
			part[i] = load((const void *)(from + i));                                                      \
		for (unsigned i = 0; i < PARTS; i++)                                                                   \
			stream((void *)(to + i), part[i]);                                                             \
	} while (0)
#define DEFINE_STREAM_COPY(name, feature, vector, load, stream)                                                        \
	__attribute__((target(feature))) static void stream_copy_##name(void *destination, const void *source,         \
	                                                                size_t length)                                 \
	{                                                                                                              \
		enum { PARTS = LINE / sizeof(vector) };                                                                \
		vector *to = destination, part[PARTS];                                                                 \
		const vector *from = source;                                                                           \
		for (; length; length -= LINE, to += PARTS, from += PARTS)                                             \
			STREAM_LINE(load, stream);                                                                     \
	}                                                                                                              \
	__attribute__((target(feature))) static void stream_down_##name(void *destination, const void *source,         \
	                                                                size_t length)                                 \
	{                                                                                                              \
		enum { PARTS = LINE / sizeof(vector) };                                                                \
		vector *to = destination, part[PARTS];                                                                 \
		const vector *from = source;                                                                           \
		for (to += length / sizeof(*to), from += length / sizeof(*to); length; length -= LINE) {               \
			to -= PARTS, from -= PARTS;                                                                    \
			STREAM_LINE(load, stream);                                                                     \
		}                                                                                                      \
	}
#define DEFINE_STREAM_SET(name, feature, vector, spread, stream)                                                       \
	__attribute__((target(feature))) static void name(void *destination, int value, size_t length)                 \
	{                                                                                                              \
		vector *to = destination, fill = spread((char)value);                                                  \
		for (size_t n = length / sizeof(*to); n; n--)                                                          \
			stream((void *)to++, fill);                                                                    \
	}

DEFINE_STREAM_COPY(sse2, "sse2", __m128i, _mm_loadu_si128, _mm_stream_si128)
DEFINE_STREAM_COPY(avx2, "avx2", __m256i, _mm256_loadu_si256, _mm256_stream_si256)
DEFINE_STREAM_COPY(wide, "avx512f", __m512i, _mm512_loadu_si512, _mm512_stream_si512)
DEFINE_STREAM_SET(stream_set_sse2, "sse2", __m128i, _mm_set1_epi8, _mm_stream_si128)
DEFINE_STREAM_SET(stream_set_avx2, "avx2", __m256i, _mm256_set1_epi8, _mm256_stream_si256)
DEFINE_STREAM_SET(stream_set_wide, "avx512f", __m512i, _mm512_set1_epi8, _mm512_stream_si512)

static bool pays_to_be_wide(size_t length)
{
	return length >= WIDE_FROM && length < WIDE_TO;
}

static void stream_copy_avx512(void *destination, const void *source, size_t length)
{
	(pays_to_be_wide(length) ? stream_copy_wide : stream_copy_avx2)(destination, source, length);
}

static void stream_down_avx512(void *destination, const void *source, size_t length)
{
	(pays_to_be_wide(length) ? stream_down_wide : stream_down_avx2)(destination, source, length);
}

/* The largest pieces that their addresses allow: up to three in a line. step as for stores. */
static inline void stream_pieces(char *to, const char *from, size_t length, size_t step)
{
	while (length) {
		size_t piece = (uintptr_t)to % 16 || length < 16 ? 8 : 16;
		long long half;
		memcpy(&half, from, sizeof(half));
		if (piece == 8)
			_mm_stream_si64((void *)to, half);
		else
			_mm_stream_si128((void *)to, _mm_loadu_si128((const void *)from));
		to += piece, from += step * piece, length -= piece;
	}
}

/* 32 bytes are at the end of a head, and at the beginning of a tail. */
__attribute__((target("avx2"))) static inline void stream_larger_pieces(char *to, const char *from, size_t length,
                                                                        size_t step)
{
	size_t before = -(uintptr_t)to % 32;
	if (length < 32 + before)
		return stream_pieces(to, from, length, step);
	stream_pieces(to, from, before, step);
	to += before, from += step * before, length -= before;
	_mm256_stream_si256((void *)to, _mm256_loadu_si256((const void *)from));
	stream_pieces(to + 32, from + step * 32, length - 32, step);
}

#define DEFINE_STREAM_EDGE(name, feature, vector, stream)                                                              \
	__attribute__((target(feature))) static void stream_edge_##name(void *to, const void *from, size_t length)     \
	{                                                                                                              \
		stream(to, from, length, 1);                                                                           \
	}                                                                                                              \
	__attribute__((target(feature))) static void stream_set_edge_##name(void *to, int value, size_t length)        \
	{                                                                                                              \
		const vector pattern = PATTERN(vector, value);                                                         \
		stream(to, (const char *)&pattern, length, 0);                                                         \
	}

DEFINE_STREAM_EDGE(sse2, "sse2", words2, stream_pieces)
DEFINE_STREAM_EDGE(avx2, "avx2", words4, stream_larger_pieces)

/* ---- The tables ---- */

/* From the best to what every x86-64 has. */
enum instruction { CLWB, CLFLUSHOPT, CLFLUSH, INSTRUCTIONS };
enum vectors { AVX512, AVX2, SSE2, VECTORS };

#define TABLE(instruction, function, reaches, vectors, streams, sets, slow_ahead, is_amd)                              \
	{                                                                                                              \
		.name = instruction, .copies = #streams, .reaches_media = reaches, .line = LINE,                       \
		.is_clwb = function == write_back_clwb, .write_back = function, .fence = fence,                        \
		.persist = function##_and_fence, .copy = copy_##vectors,                                               \
		.set = set_##vectors, .stream_copy = stream_copy_##streams, .stream_down = stream_down_##streams,      \
		.stream_set = stream_set_##sets, .stream_edge = stream_edge_##vectors,                                 \
		.stream_set_edge = stream_set_edge_##vectors, .edge_most = EDGE_##vectors, .alias = slow_ahead,        \
		.edge_in_parts = is_amd, .head_first = is_amd,                                                         \
	}
#define TABLES(instruction, function)                                                                                  \
	{                                                                                                              \
		[AVX512] = TABLE(instruction, function, true, avx2, avx512, avx2, ALIAS, false),                       \
		[AVX2] = TABLE(instruction, function, true, avx2, avx2, avx2, ALIAS, false),                           \
		[SSE2] = TABLE(instruction, function, true, sse2, sse2, sse2, ALIAS, false),                           \
	}
#define AMD_TABLES(instruction, function)                                                                              \
	{                                                                                                              \
		[AVX512] = TABLE(instruction, function, true, avx2, wide, wide, 0, true),                              \
		[AVX2] = TABLE(instruction, function, true, avx2, avx2, avx2, 0, true),                                \
		[SSE2] = TABLE(instruction, function, true, sse2, sse2, sse2, 0, true),                                \
	}

static const struct pm_cpu tables[2][INSTRUCTIONS][VECTORS] = {
	{
		[CLWB] = TABLES("clwb", write_back_clwb),
		[CLFLUSHOPT] = TABLES("clflushopt", write_back_clflushopt),
		[CLFLUSH] = TABLES("clflush", write_back_clflush),
	},
	{
		[CLWB] = AMD_TABLES("clwb", write_back_clwb),
		[CLFLUSHOPT] = AMD_TABLES("clflushopt", write_back_clflushopt),
		[CLFLUSH] = AMD_TABLES("clflush", write_back_clflush),
	},
};
/* These loops do not know the line size: no promise. */
static const struct pm_cpu with_other_line =
	TABLE("clflush with an unknown line size", write_back_clflush, false, sse2, sse2, sse2, ALIAS, false);

/* ---- What the CPU has ---- */

/* CPUID.1: EDX bit 19 CLFSH, EBX bits 15-8 its line size in units of 8 bytes. */
static bool knows_line(void)
{
	unsigned a, b, c, d;
	return __get_cpuid(1, &a, &b, &c, &d) && d & (1u << 19) && ((b >> 8) & 0xff) * 8 == LINE;
}

/* CPUID.7.0: EBX. */
static unsigned features(void)
{
	unsigned a, b, c, d;
	return __get_cpuid_count(7, 0, &a, &b, &c, &d) ? b : 0;
}

/* CPUID.0: the name in EBX, EDX, ECX. Hygon builds what AMD designed. */
static bool is_amd(void)
{
	unsigned a, name[3];
	return __get_cpuid(0, &a, &name[0], &name[2], &name[1]) &&
	       (!memcmp(name, "AuthenticAMD", sizeof(name)) || !memcmp(name, "HygonGenuine", sizeof(name)));
}

static enum instruction best_instruction(void)
{
	unsigned has = features();
	return has & (1u << 24) ? CLWB : has & (1u << 23) ? CLFLUSHOPT : CLFLUSH;
}

/* CPUID.1 ECX bit 27 OSXSAVE: XCR0 shows which registers the system saves for each thread. */
static bool system_saves(unsigned registers)
{
	unsigned a, b, c, d;
	if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & (1u << 27)))
		return false;
	__asm__("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
	return (a & registers) == registers;
}

static enum vectors best_vectors(void)
{
	/* SDM vol. 1 14.3, 15.2: bits 1, 2 XMM and YMM; 5 to 7 masks and ZMM. Bit 5 AVX2, bit 16 AVX512F. */
	unsigned has = features();
	if (!(has & (1u << 5)) || !system_saves(0x06))
		return SSE2;
	return has & (1u << 16) && system_saves(0xe6) ? AVX512 : AVX2;
}

const struct pm_cpu *pm_cpu_variant(unsigned index)
{
	if (!knows_line())
		return index ? NULL : &with_other_line;
	unsigned vectors = best_vectors(), instruction = best_instruction() + index / (VECTORS - vectors);
	vectors += index % (VECTORS - vectors);
	return instruction < INSTRUCTIONS ? &tables[is_amd()][instruction][vectors] : NULL;
}

const struct pm_cpu *pm_cpu(void)
{
	static const struct pm_cpu *_Atomic detected;
	if (pm_cpu_replacement)
		return pm_cpu_replacement;
	const struct pm_cpu *cpu = atomic_load_explicit(&detected, memory_order_acquire);
	if (!cpu)
		atomic_store_explicit(&detected, cpu = pm_cpu_variant(0), memory_order_release);
	return cpu;
}
