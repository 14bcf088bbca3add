#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"

static kg_cfg_t *parse(const char *text) {
  kg_error_t err = {0};
  kg_cfg_t *c = kg_cfg_parse("k.yaml", text, strlen(text), &err);
  cr_assert(c, "%s", err.text);
  return c;
}

static void shows(const char *text, const char *json) {
  kg_cfg_t *c = parse(text);
  kg_doc_t *doc = kg_cfg_doc(c);
  char *out = kg_view_to_json(kg_view_of(doc));
  cr_assert_str_eq(out, json);
  free(out);
  kg_doc_unref(doc);
  kg_cfg_free(c);
}

Test(config, scalars_get_the_types_of_yaml) {
  shows("{a: 1, b: -7, c: 0x10, d: 0o17, e: 1.5, f: true, g: null, h: ~, i: '1', j: 10.42.0.0/24, k: 1.2.3, l: '', m: "
        "-, n: 1e3}",
        "{\"a\":1,\"b\":-7,\"c\":16,\"d\":15,\"e\":1.5,\"f\":true,\"g\":null,\"h\":null,\"i\":\"1\",\"j\":\"10.42.0.0/"
        "24\","
        "\"k\":\"1.2.3\",\"l\":\"\",\"m\":\"-\",\"n\":1000}");
}

Test(config, an_empty_file_is_an_empty_map) {
  shows("", "{}");
}
Test(config, lists_and_aliases_work) {
  shows("a: &x [1, {b: 2}]\nc: *x\n", "{\"a\":[1,{\"b\":2}],\"c\":[1,{\"b\":2}]}");
}

static void fails(const char *text, const char *sentence) {
  kg_error_t err = {0};
  cr_assert_null(kg_cfg_parse("k.yaml", text, strlen(text), &err));
  cr_assert(strstr(err.text, sentence), "\"%s\" does not say \"%s\"", err.text, sentence);
}

Test(config, mistakes_are_named_with_file_and_line) {
  fails("a: 1\nb: [1\nc: 2\n", "k.yaml:3: ");
  fails("a: 1\na: 2\n", "k.yaml:2: this key is there twice: a");
  fails("- 1\n", "k.yaml:1: a configuration must be a map");
}

Test(config, aliases_cannot_blow_up_or_recurse) {
  fails("a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\n"
        "d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: "
        "[*e,*e,*e,*e,*e,*e,*e,*e,*e,*e,*e]\n",
        "far too large");
  fails("a: &a [*a]\n", "nested too deeply");
}

Test(config, a_flag_sets_a_value_by_path_and_makes_what_is_missing) {
  kg_error_t err = {0};
  kg_cfg_t *c = parse("plugins: [{name: one}, {name: two, config: }]\n");
  cr_assert_eq(kg_cfg_set(c, "plugins.two.config.port", "6443", false, &err), 0, "%s", err.text);
  cr_assert_eq(kg_cfg_set(c, "plugins.one.config.a.b", "yes", false, &err), 0, "%s", err.text);
  cr_assert_eq(kg_cfg_set(c, "plugins.two.config.port", "7", true, &err), 0, "%s", err.text);
  cr_assert_eq(kg_cfg_set(c, "plugins.three.config", "1", false, &err), -1);
  cr_assert_str_eq(err.text, "plugins.three.config leads nowhere in the configuration: there is no three");
  cr_assert_eq(kg_cfg_set(c, "plugins", "1", false, &err), -1);
  kg_doc_t *doc = kg_cfg_doc(c);
  char *out = kg_view_to_json(kg_view_of(doc));
  cr_assert_str_eq(out, "{\"plugins\":[{\"name\":\"one\",\"config\":{\"a\":{\"b\":\"yes\"}}},{\"name\":\"two\","
                        "\"config\":{\"port\":\"7\"}}]}");
  free(out);
  kg_doc_unref(doc);
  kg_cfg_free(c);
}
