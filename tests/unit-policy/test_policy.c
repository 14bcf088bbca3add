/* What scripts see and give. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy/policy.h"

static policy_t *load(const char *source) {
  kg_error_t err = {0};
  policy_t *p = policy_new("test", kg_str(source), &(policy_options_t){.seed = 7}, &err);
  cr_assert(p, "%s", err.text);
  return p;
}

static kg_doc_t *pod(void) {
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_key(&p, "metadata");
  kg_pack_map(&p);
  kg_pack_kv_str(&p, "name", "web");
  kg_pack_end(&p);
  kg_pack_key(&p, "list");
  kg_pack_array(&p);
  for (int i = 1; i <= 3; i++) kg_pack_int(&p, i * 10);
  kg_pack_end(&p);
  kg_pack_end(&p);
  return kg_pack_doc(&p);
}

/* Runs `f(view of pod())` and compares what it gives, as JSON. */
static void expect(const char *body, const char *json) {
  char source[4096];
  kg_error_t err = {0};
  policy_result_t r;
  snprintf(source, sizeof source, "function f(v) %s end", body);
  policy_t *p = load(source);
  kg_doc_t *doc = pod();
  policy_arg_t arg = POLICY_ARG_VIEW(kg_view_of(doc));
  cr_assert_eq(policy_call(p, policy_function(p, "f"), &arg, 1, &r, &err), 0, "%s: %s", body, err.text);
  char *text = r.doc ? kg_view_to_json(kg_view_of(r.doc)) : NULL;
  char number[64];
  snprintf(number, sizeof number, "%.14g", r.number);
  const char *is = text                  ? text
                   : r.type == KG_V_NIL  ? "null"
                   : r.type == KG_V_BOOL ? (r.truth ? "true" : "false")
                                         : number;
  cr_assert_str_eq(is, json, "%s gave %s, not %s", body, is, json);
  free(text);
  policy_result_clear(&r);
  kg_doc_unref(doc);
  policy_free(p);
}

Test(policy, views) {
  expect("return v.metadata.name", "\"web\"");
  expect("return v('metadata', 'name')", "\"web\"");
  expect("return v('spec', 'nodeName')", "null");
  expect("return v.list[2] + #v.list", "23");
  expect("local s = 0 for i, x in ipairs(v.list) do s = s + i * x end return s", "140");
  expect("local s = '' for k in pairs(v) do s = s .. k .. ' ' end return s", "\"metadata list \"");
  expect("return kind(v) .. kind(v.list) .. kind(1) .. type(v)", "\"maparraynumberuserdata\"");
  expect("return v.metadata == v.metadata", "true");
  expect("local t = copy(v) t.metadata.name = 'db' return t", "{\"list\":[10,20,30],\"metadata\":{\"name\":\"db\"}}");
  expect("return v", "{\"metadata\":{\"name\":\"web\"},\"list\":[10,20,30]}");
}

Test(policy, values) {
  expect("return {b = 1, a = {1, 'x', false}, c = array({}), d = {}, e = null}",
         "{\"a\":[1,\"x\",false],\"b\":1,\"c\":[],\"d\":{},\"e\":null}");
  expect("return quantity('100m') + quantity('1Ki')", "1024.1");
  expect("return quantity('nonsense')", "null");
}

/* The same in every run: order, chance, names of things. */
Test(policy, deterministic) {
  expect("local s = '' for k in pairs({z = 1, a = 2, [3] = 1, [1] = 1, m = 4}) do s = s .. k .. ' ' end return s",
         "\"1 3 a m z \"");
  expect("return tostring({}) .. tostring(print) .. string.format('%s', {})", "\"tablefunctiontable\"");
  expect("local t = {} for i = 1, 300 do t[i] = {k = i % 3, i = i} end "
         "table.sort(t, function(a, b) return a.k < b.k end) return t[1].i * 1e6 + t[101].i * 1e3 + t[300].i",
         "3001299");
  expect("return math.random(1000)", "488");
}

Test(policy, strings_work_as_in_lua) {
  expect("return {('hello world'):find('o w')}", "[5,7]");
  expect("return {('key = value'):match('^(%w+)%s*=%s*(%w+)$')}", "[\"key\",\"value\"]");
  expect("return {('abc'):gsub('%w', '%0%0')}", "[\"aabbcc\",3]");
  expect("return {('hello'):gsub('', '-')}", "[\"-h-e-l-l-o-\",6]");
  expect("local t = {} for k, x in ('a=1, b=2'):gmatch('(%w+)=(%w+)') do t[k] = x end return t",
         "{\"a\":\"1\",\"b\":\"2\"}");
  expect("return {('THE (quick) fox'):find('%((%a+)%)')}", "[5,11,\"quick\"]");
  expect("return ('f(a(b)c)d'):match('%b()')", "\"(a(b)c)\"");
  expect("return {('x'):rep(3, ','), ('[]]'):match('[]]+'), ('a.b'):find('.', 1, true)}", "[\"x,x,x\",\"]]\",2,2]");
  expect("return ('THE (quick) fox'):gsub('%f[%a]%a+', string.lower)", "\"the (quick) fox\"");
  expect("return {('abab'):match('(ab)%1'), ('  x '):match('^%s*(.-)%s*$'), ('abc'):match('()b()')}",
         "[\"ab\",\"x\",2,3]");
  expect("local t = {3, 1, 2} table.sort(t) table.insert(t, 1, 0) table.remove(t) return table.concat(t, '-')",
         "\"0-1-2\"");
}

Test(policy, fields_and_second_results) {
  kg_error_t err = {0};
  policy_result_t r;
  policy_t *p = load("function f(r) return r.name == 'x' and r.n + 1, 'why' end");
  policy_arg_t args[] = {POLICY_FIELD_STR("name", KG_STR("x")), POLICY_FIELD_INT("n", 41)};
  cr_assert_eq(policy_call(p, policy_function(p, "f"), args, 2, &r, &err), 0, "%s", err.text);
  cr_assert_eq(r.number, 42);
  cr_assert(kg_str_is(kg_view_str(kg_view_of(r.extra)), "why"));
  policy_result_clear(&r);
  cr_assert_eq(policy_function(p, "g"), 0);
  policy_free(p);
}

Test(policy, a_script_that_does_not_compile_says_where) {
  kg_error_t err = {0};
  cr_assert_null(policy_new("bad", KG_STR("x = 1\nfunction f( return end"), NULL, &err));
  cr_assert(strstr(err.text, "bad:2:"), "%s", err.text);
}

Test(policy, a_view_does_not_outlive_its_call) {
  kg_error_t err = {0};
  policy_result_t r;
  policy_t *p = load("function keep(v) kept = v; n = next_of(v) end "
                     "function next_of(v) return (pairs(v)) end "
                     "function use() return kept.metadata end function walk() return n() end");
  kg_doc_t *doc = pod();
  policy_arg_t arg = POLICY_ARG_VIEW(kg_view_of(doc));
  cr_assert_eq(policy_call(p, policy_function(p, "keep"), &arg, 1, &r, &err), 0, "%s", err.text);
  kg_doc_unref(doc);
  cr_assert_eq(policy_call(p, policy_function(p, "use"), NULL, 0, &r, &err), -1);
  cr_assert(strstr(err.text, "not there any more"), "%s", err.text);
  cr_assert_eq(policy_call(p, policy_function(p, "walk"), NULL, 0, &r, &err), -1);
  policy_free(p);
}

static void remember(void *arg, const char *text) {
  snprintf(arg, 64, "%s", text);
}

Test(policy, log_goes_to_its_owner) {
  char text[64] = "";
  kg_error_t err = {0};
  policy_result_t r;
  policy_t *p = policy_new("t", KG_STR("function f() print('a', 1, nil, {}) end"),
                           &(policy_options_t){.log = remember, .log_arg = text}, &err);
  cr_assert_eq(policy_call(p, policy_function(p, "f"), NULL, 0, &r, &err), 0);
  cr_assert_str_eq(text, "a 1 nil table");
  policy_free(p);
}
