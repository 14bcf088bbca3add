/* Scripts that want to break out, hang or eat memory; and many that nobody wrote. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "policy/policy.h"

static int64_t cpu_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* The sanitizers make everything slower, not the budget longer. */
#define PATIENCE_MS 2000

/* Each must end with an error, soon, and leave the state usable. */
static const char *const never_ending[] = {
    "while true do end",
    "local function f() return f() end f()",
    "local function f() return 1 + f() end f()",
    "while true do pcall(error) end",
    "pcall(function() while true do end end) while true do end",
    "local function f() pcall(f) f() end f()",
    "for i = 1, 1e18 do pcall(function() while true do end end) end",
    "local t = {} while true do t[#t + 1] = ('x'):rep(1000) end",
    "local s = 'x' while true do s = s .. s end",
    "local t = {} for i = 1, 1e9 do t[i] = i end",
    "('a'):rep(1e9)",
    "for i = 1, 1e9 do (''):rep(1e18) end",
    "('a'):rep(3000):find(('a?'):rep(90) .. 'b')",
    "('a'):rep(500):find('.-.-.-.-.-b')",
    "('a'):rep(30000):find('.-b') while true do end",
    "('a'):rep(100000):gsub('a-b', '')",
    "for w in ('('):rep(200000):gmatch('%b()') do end while true do end",
    "('x'):rep(1e5):match(('(x*)'):rep(20) .. 'y')",
    "table.concat(setmetatable({}, {__len = function() return 1e15 end})) while true do end",
    "setmetatable({}, {__gc = function() while true do end end}) while true do end",
    "local t = setmetatable({}, {__index = function(t, k) return t[k + 1] end}) return t[1]",
    "table.sort({3, 2, 1}, function(a, b) while true do end end)",
    "table.move({}, 1, math.maxinteger - 1, 2)",
    "table.unpack({}, 1, 1e8)",
    "local t = setmetatable({}, {__pairs = function() return function() return 1 end end}) for k in pairs(t) do end",
    "local t <close> = setmetatable({}, {__close = function() while true do end end}) error('x')",
    "local t = {} t[1] = t return t",
    "local t = {} for i = 1, 200 do t = {t} end return t",
    "error(setmetatable({}, {__tostring = function() while true do end end}))",
    "print(setmetatable({}, {__tostring = function() while true do end end}))",
    "return string.format('%99999d', 1)",
    "return ('%s'):rep(100000):format(table.unpack({}, 1, 900)) .. error('x')",
    "local s = ('a'):rep(1e6) while true do s:find('b', 1, true) end",
    "while true do next({}) end",
    "goto a ::a:: goto a",
    "repeat local x = {} until false",
    "return load('return 1')()",
    "return ('x'):dump()",
};

Test(hostile, every_one_ends, .timeout = 300) {
  for (size_t i = 0; i < sizeof never_ending / sizeof *never_ending; i++) {
    char source[1024];
    kg_error_t err = {0};
    policy_result_t r;
    snprintf(source, sizeof source, "function f() %s end function good() return 1 end", never_ending[i]);
    policy_t *p = policy_new("hostile", kg_str(source), NULL, &err);
    cr_assert(p, "%s: %s", never_ending[i], err.text);
    int64_t since = cpu_ms();
    int rc = policy_call(p, policy_function(p, "f"), NULL, 0, &r, &err);
    int64_t took = cpu_ms() - since;
    cr_expect_eq(rc, -1, "%s succeeded", never_ending[i]);
    cr_expect_lt(took, PATIENCE_MS, "%s took %lld ms", never_ending[i], (long long)took);
    if (rc == 0) policy_result_clear(&r);
    cr_expect_eq(policy_call(p, policy_function(p, "good"), NULL, 0, &r, &err), 0, "after %s: %s", never_ending[i],
                 err.text);
    cr_expect_leq(policy_memory(p), 9u << 20);
    policy_free(p);
  }
}

/* What must not be there. */
Test(hostile, nothing_to_break_out_with) {
  static const char *const names[] = {"io",        "os",     "debug",       "package",     "require",
                                      "load",      "dofile", "loadfile",    "loadstring",  "collectgarbage",
                                      "coroutine", "xpcall", "string.dump", "string.pack", "math.randomseed"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    char source[200];
    kg_error_t err = {0};
    policy_result_t r;
    snprintf(source, sizeof source, "function f() return %s end", names[i]);
    policy_t *p = policy_new("t", kg_str(source), NULL, &err);
    cr_assert_eq(policy_call(p, policy_function(p, "f"), NULL, 0, &r, &err), 0, "%s", err.text);
    cr_expect_eq(r.type, KG_V_NIL, "there is %s", names[i]);
    policy_result_clear(&r);
    policy_free(p);
  }
}

Test(hostile, bytecode_and_metatables_are_refused) {
  kg_error_t err = {0};
  cr_assert_null(policy_new("t", KG_STR("\x1bLua"), NULL, &err));
  cr_assert(strstr(err.text, "binary"), "%s", err.text);
  static const char *const refused[] = {"getmetatable('').__index = nil", "setmetatable('', {})",
                                        "setmetatable({}, {__mode = 'k'})", "getmetatable(view).__index = nil",
                                        "view.metadata = 1"};
  for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
    char source[200];
    policy_result_t r;
    snprintf(source, sizeof source, "function f(view) %s end", refused[i]);
    policy_t *p = policy_new("t", kg_str(source), NULL, &err);
    uint8_t empty = 0x80;
    policy_arg_t arg = POLICY_ARG_VIEW(kg_view_bytes(&empty, 1));
    cr_expect_eq(policy_call(p, policy_function(p, "f"), &arg, 1, &r, &err), -1, "%s", refused[i]);
    policy_free(p);
  }
}

/* --- programs made by chance
 * ------------------------------------------------------------------------------------------ */

static uint64_t state = 88172645463325252u;
static unsigned chance(unsigned n) {
  state ^= state << 13, state ^= state >> 7, state ^= state << 17;
  return (unsigned)(state % n);
}

static const char *const words[] = {
    "v",
    "t",
    "1",
    "'a'",
    "nil",
    "{}",
    "#",
    "+",
    "..",
    "(",
    ")",
    "[1]",
    ".k",
    "=",
    ",",
    "if",
    "then",
    "end",
    "for",
    "do",
    "in",
    "pairs",
    "ipairs",
    "function",
    "return",
    "local",
    "pcall",
    "error",
    "next",
    "copy",
    "array",
    "kind",
    "not",
    "table.insert",
    "table.sort",
    "table.remove",
    "table.unpack",
    "string.rep",
    "string.gsub",
    "string.find",
    "%d*",
    "'%b()'",
    "setmetatable",
    "getmetatable",
    "tostring",
    "select",
    "rawset",
    "math.random",
    "while",
    "true",
    "break",
    ";",
    "==",
    "<close>",
    "goto",
    "::a::",
    "string.format",
    "'%s'",
    "math.maxinteger",
    "-1",
    "t[t]",
    "self",
    ":rep(9)",
    "rawlen",
};

static size_t program(char *out, size_t room) {
  size_t n = (size_t)snprintf(out, room, "function f(v) local t = {1, 2, k = v} ");
  for (unsigned k = 0, count = 3 + chance(30); k < count && n + 64 < room; k++)
    n += (size_t)snprintf(out + n, room - n, "%s ", words[chance(sizeof words / sizeof *words)]);
  return n + (size_t)snprintf(out + n, room - n, " end");
}

/* Most do not compile: so lines that do are mixed too. */
static const char *const lines[] = {
    "t[#t + 1] = v",
    "for k, x in pairs(v) do t[k] = x end",
    "pcall(function() t = t .. v end)",
    "t = setmetatable(t, {__index = v, __len = function() return 5 end})",
    "string.rep('ab', 1000):gsub('(a)(b)', t)",
    "table.sort(t, function(a, b) return tostring(a) < tostring(b) end)",
    "t[1], t[2] = v.list, v('metadata', 'name')",
    "for i = 1, 100 do t[i] = {t, i} end",
    "table.insert(t, 1, t[1])",
    "local s = tostring(v) .. #v",
    "g = v",
    "if g then pcall(function() return g.metadata end) end",
    "t = {pcall(next, t, 1)}",
    "t = {select(2, 1, 2, 3)}",
    "for a, b in ipairs(v.list or {}) do t[b] = a end",
    "t = copy(v)",
    "t.x = array({1, {2}, v})",
    "for w in ('a b c'):gmatch('%w') do t[w] = w end",
    "t.t = t",
    "t[0/0 == 0] = 1",
    "pcall(string.format, '%q %d', v, 1.5)",
    "pcall(table.concat, t)",
    "t[v] = v",
    "t[1.5] = true",
};

Test(hostile, programs_made_by_chance, .timeout = 300) {
  uint8_t doc[] = {0x82, 0xa4, 'l', 'i', 's', 't', 0x93, 1,    2,    0x81, 0xa1, 'a', 1,   0xa8, 'm',
                   'e',  't',  'a', 'd', 'a', 't', 'a',  0x81, 0xa4, 'n',  'a',  'm', 'e', 0xa1, 'x'};
  unsigned compiled = 0, ran = 0;
  for (unsigned i = 0; i < 20000; i++) {
    char source[4096];
    kg_error_t err = {0};
    policy_result_t r;
    size_t n;
    if (i % 2) {
      n = (size_t)snprintf(source, sizeof source, "function f(v) local t = {1, 2, k = v} ");
      for (unsigned k = 0, count = 1 + chance(8); k < count; k++)
        n += (size_t)snprintf(source + n, sizeof source - n, "%s ", lines[chance(sizeof lines / sizeof *lines)]);
      n += (size_t)snprintf(source + n, sizeof source - n, "return t end");
    } else {
      n = program(source, sizeof source);
    }
    policy_t *p =
        policy_new("chance", (kg_str_t){source, n}, &(policy_options_t){.memory = 1 << 20, .time_us = 4000}, &err);
    if (!p) continue;
    compiled++;
    policy_arg_t arg = POLICY_ARG_VIEW(kg_view_bytes(doc, sizeof doc));
    for (int k = 0; k < 2; k++) {
      if (policy_call(p, policy_function(p, "f"), &arg, 1, &r, &err) < 0) continue;
      ran++;
      policy_result_clear(&r);
    }
    policy_free(p);
  }
  cr_assert_gt(compiled, 5000);
  cr_assert_gt(ran, 1000);
}
