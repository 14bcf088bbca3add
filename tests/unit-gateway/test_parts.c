/* Routes, negotiation, YAML, tokens, certificates. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <sys/stat.h>

#include "harness.h"

static void route(const char *path, const char *want) {
  gw_route_t r;
  char *text = NULL, got[512];
  int rc = gw_route_parse(path, &r, &text);
  snprintf(got, sizeof got, "%d %d%d g=%s v=%s ns=%s r=%s n=%s s=%s x=%s", rc, r.resource, r.watch, r.group, r.version,
           r.ns, r.resource_name, r.name, r.sub, r.rest);
  cr_assert(eq(str, got, (char *)want), "%s", path);
  free(text);
}

Test(route, paths_name_resources) {
  route("/api/v1/pods", "0 10 g= v=v1 ns= r=pods n= s= x=");
  route("/api/v1/namespaces/a/pods/p/log", "0 10 g= v=v1 ns=a r=pods n=p s=log x=");
  route("/api/v1/namespaces/a", "0 10 g= v=v1 ns= r=namespaces n=a s= x=");
  route("/api/v1/namespaces/a/status", "0 10 g= v=v1 ns= r=namespaces n=a s=status x=");
  route("/api/v1/namespaces/a/finalize", "0 10 g= v=v1 ns= r=namespaces n=a s=finalize x=");
  route("/api/v1/watch/namespaces/a/pods/p", "0 11 g= v=v1 ns=a r=pods n=p s= x=");
  route("/apis/apps/v1/namespaces/a/deployments/d/scale", "0 10 g=apps v=v1 ns=a r=deployments n=d s=scale x=");
  route("/api/v1/namespaces/a/services/s/proxy/x/y", "0 10 g= v=v1 ns=a r=services n=s s=proxy x=x/y");
  route("/apis/apps/v1", "0 00 g=apps v=v1 ns= r= n= s= x=");
  route("/metrics", "-1 00 g= v= ns= r= n= s= x=");
}

static gw_form_t negotiated(const char *accept) {
  gw_ex_t ex = {.query = "", .method = "GET"};
  kube_buf_add(&ex.head, "/", 2);
  ex.headers = 2;
  kube_buf_add(&ex.head, "accept", 7);
  kube_buf_add(&ex.head, accept, strlen(accept) + 1);
  gw_negotiate(&ex);
  kube_buf_free(&ex.head);
  return ex.form;
}

Test(negotiate, clients_get_the_first_form_we_speak) {
  cr_assert(eq(int, negotiated("application/json;as=Table;v=v1;g=meta.k8s.io,application/json"), GW_FORM_TABLE));
  cr_assert(eq(int, negotiated("application/vnd.kubernetes.protobuf,application/json"), GW_FORM_JSON));
  cr_assert(eq(int, negotiated("application/vnd.kubernetes.protobuf"), GW_FORM_JSON));
  cr_assert(eq(int, negotiated("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"), GW_FORM_META));
  cr_assert(eq(int, negotiated("application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"),
               GW_FORM_DISCOVERY));
  cr_assert(eq(int, negotiated("*/*"), GW_FORM_JSON));
  cr_assert(eq(int, negotiated("text/html, application/xml;q=0.9, */*;q=0.8"), GW_FORM_JSON));
  cr_assert(eq(int, negotiated(""), GW_FORM_JSON));
}

Test(yaml, of_keys_that_come_twice_the_last_counts_and_the_line_is_told) {
  static const char text[] = "a: 1\nb: {x: 1, y: 2, x: 3}\na: 2\n";
  kg_error_t err = {0};
  kube_buf_t twice = {0};
  kg_doc_t *d = gw_yaml_parse(text, strlen(text), &twice, &err);
  cr_assert(d != NULL, "%s", err.text);
  char *got = kg_view_to_json(kg_view_of(d));
  cr_assert(eq(str, got, "{\"b\":{\"y\":2,\"x\":3},\"a\":2}"));
  cr_assert(eq(str, twice.p, "\n  line 3: key \"a\" already set in map\n  line 2: key \"x\" already set in map"));
  free(got);
  kg_doc_unref(d);
  kube_buf_free(&twice);
}

static void yaml(const char *text, const char *want) {
  kg_error_t err = {0};
  kg_doc_t *d = gw_yaml_parse(text, strlen(text), NULL, &err);
  cr_assert(d != NULL, "%s", err.text);
  char *got = kg_view_to_json(kg_view_of(d));
  cr_assert(eq(str, got, (char *)want));
  free(got);
  kg_doc_unref(d);
}

Test(yaml, values_are_jsons) {
  yaml("a: 1\nb: [x, \"2\", true, ~, 1.5]\nc:\n  d: no\n",
       "{\"a\":1,\"b\":[\"x\",\"2\",true,null,1.5],\"c\":{\"d\":false}}");
  yaml("image: 1.2.3\nport: '80'\nt: 2026-01-01\n", "{\"image\":\"1.2.3\",\"port\":\"80\",\"t\":\"2026-01-01\"}");
}

Test(yaml, laughter_is_bounded) {
  char text[2048] = "a: &a [x,x,x,x,x,x,x,x,x,x]\n";
  for (char c = 'b'; c < 'k'; c++) {
    char line[128];
    snprintf(line, sizeof line, "%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c]\n", c, c, c - 1, c - 1, c - 1, c - 1,
             c - 1, c - 1, c - 1, c - 1, c - 1, c - 1);
    strcat(text, line);
  }
  kg_error_t err = {0};
  cr_assert(gw_yaml_parse(text, strlen(text), NULL, &err) == NULL);
  cr_assert(strstr(err.text, "too many") != NULL, "%s", err.text);
}

TestSuite(pki, .init = harness_start, .fini = harness_stop);

Test(pki, a_token_that_was_changed_or_has_expired_is_none) {
  kg_doc_t *good = json("{\"sub\":\"s\",\"exp\":4102444800}"), *old = json("{\"sub\":\"s\",\"exp\":1000}");
  char *token = gw_jwt_sign(gw, kg_view_of(good), NULL), *expired = gw_jwt_sign(gw, kg_view_of(old), NULL);
  kg_doc_t *claims = gw_jwt_verify(gw, token, NULL);
  cr_assert(kg_str_is(kg_view_str(kg_view_get(kg_view_of(claims), "sub")), "s"));
  kg_doc_unref(claims);
  kg_error_t err = {0};
  cr_assert(gw_jwt_verify(gw, expired, &err) == NULL);
  cr_assert(eq(str, err.text, (char *)"the token has expired"));
  char *payload = strchr(token, '.') + 3;
  *payload = *payload == 'A' ? 'B' : 'A';
  cr_assert(gw_jwt_verify(gw, token, &err) == NULL);
  cr_assert(gw_jwt_verify(gw, "eyJhbGciOiJub25lIn0.e30.", &err) == NULL);
  free(token);
  free(expired);
  kg_doc_unref(good);
  kg_doc_unref(old);
}

Test(pki, keys_are_the_owners_alone_and_stay_the_same) {
  char path[4200];
  struct stat st;
  size_t n = 0, m = 0;
  snprintf(path, sizeof path, "%s/server.key", gw->tls_dir);
  cr_assert(zero(int, stat(path, &st)));
  cr_assert(eq(uint, st.st_mode & 0777, 0600));
  snprintf(path, sizeof path, "%s/server.crt", gw->tls_dir);
  char *before = gw_read_file(path, &n, NULL);
  cr_assert(zero(int, gw_pki_prepare(gw, NULL)));
  char *after = gw_read_file(path, &m, NULL);
  cr_assert(eq(str, before, after));
  /* A new address needs a new certificate. */
  snprintf(gw->addresses[0], sizeof gw->addresses[0], "192.0.2.7");
  gw->naddresses = 1;
  cr_assert(zero(int, gw_pki_prepare(gw, NULL)));
  char *renewed = gw_read_file(path, &m, NULL);
  cr_assert(ne(str, before, renewed));
  gw->naddresses = 0;
  free(before);
  free(after);
  free(renewed);
}

/* What the API's own protobuf of an object is, and its JSON (facts of the API: a Namespace and a Secret). */
static void protobuf(const char *base64, const char *want) {
  unsigned char bytes[1024];
  int n = EVP_DecodeBlock(bytes, (const unsigned char *)base64, (int)strlen(base64));
  while (n > 0 && base64[strlen(base64) - 1] == '=' && !bytes[n - 1]) n--;
  kg_error_t err = {0};
  kg_doc_t *d = gw_protobuf_parse((char *)bytes, (size_t)n, &err);
  cr_assert(d != NULL, "%s", err.text);
  char *got = kg_view_to_json(kg_view_of(d));
  cr_assert(eq(str, got, (char *)want));
  free(got);
  kg_doc_unref(d);
}

Test(protobuf, an_empty_object_of_go_has_no_empty_fields_in_json) {
  protobuf("azhzAAoNCgJ2MRIHQmluZGluZxIiChAKABIAGgAiACoAMgA4AEIAEg4KABIAGgAiACoAMgA6ABoAIgA=",
           "{\"kind\":\"Binding\",\"apiVersion\":\"v1\",\"target\":{}}");
}

Test(protobuf, rubbish_is_refused_with_a_sentence) {
  kg_error_t err = {0};
  cr_assert(gw_protobuf_parse("k8s", 3, &err) == NULL);
  cr_assert(gw_protobuf_parse("k8s\0\x0a\xff\xff\xff\xff\x0f", 10, &err) == NULL);
  cr_assert(ne(str, err.text, (char *)""));
}

/* JSON strings are written sixteen bytes at a time: every escape at every place of strings around that length. */
static void escaped(kube_buf_t *b, const char *p, size_t n) {
  kube_buf_addz(b, "\"");
  for (size_t i = 0; i < n; i++) {
    unsigned char c = (unsigned char)p[i];
    if (c == '"' || c == '\\')
      kube_buf_fmt(b, "\\%c", c);
    else if (c == '\n')
      kube_buf_addz(b, "\\n");
    else if (c < 0x20 || c == '<' || c == '>' || c == '&')
      kube_buf_fmt(b, "\\u%04x", c);
    else if (c == 0xe2 && n - i > 2 && !memcmp(p + i, "\xe2\x80\xa8", 3))
      kube_buf_addz(b, "\\u2028"), i += 2;
    else
      kube_buf_add(b, p + i, 1);
  }
  kube_buf_addz(b, "\"");
}

Test(json, strings_are_escaped_at_every_place) {
  static const char *const specials[] = {"\"", "\\", "\n", "\x01", "<", ">", "&", "\xe2\x80\xa8", "\xe2\x82\xac", "="};
  for (size_t k = 0; k < sizeof specials / sizeof *specials; k++)
    for (size_t n = strlen(specials[k]); n < 70; n++)
      for (size_t at = 0; at + strlen(specials[k]) <= n; at++) {
        char *text = malloc(n); /* exactly: nothing behind it may be read */
        memset(text, 'a', n);
        memcpy(text + at, specials[k], strlen(specials[k]));
        if (at > 20) memcpy(text + at - 17, "<", 1);
        kube_buf_t got = {0}, want = {0};
        kube_json_string(&got, (kg_str_t){text, n});
        escaped(&want, text, n);
        cr_assert(got.n == want.n && !memcmp(got.p, want.p, got.n), "special %zu at %zu of %zu", k, at, n);
        kube_buf_free(&got);
        kube_buf_free(&want);
        free(text);
      }
}

static void round_trip(const char *text) {
  kg_error_t err = {0};
  kg_doc_t *d = kube_json_parse(text, strlen(text), NULL, NULL, &err);
  cr_assert(d != NULL, "%s", err.text);
  kube_buf_t b = {0};
  kube_json_write(&b, kg_view_of(d));
  kube_buf_add(&b, "", 1);
  cr_assert(eq(str, b.p, (char *)text));
  kube_buf_free(&b);
  kg_doc_unref(d);
}

Test(json, what_was_read_is_written) {
  round_trip("{}");
  round_trip("[[],{},null,true,false,0,-1,127,128,-129,65536,-70000,9223372036854775807,1.5,\"\"]");
  char many[4000] = "[0", deep[300], keys[6000] = "{\"k\":0";
  for (int i = 1; i < 300; i++) sprintf(many + strlen(many), ",%d", i);
  for (int i = 1; i < 300; i++) sprintf(keys + strlen(keys), ",\"k%d\":%d", i, i);
  round_trip(strcat(many, "]"));
  round_trip(strcat(keys, "}"));
  memset(deep, '[', 100);
  memset(deep + 100, ']', 100);
  deep[200] = 0;
  round_trip(deep);
}

Test(json, half_a_document_is_no_text) {
  kg_error_t err = {0};
  const char *text = "{\"name\":[1,\"some text\",{\"k\":\"v\"}]}";
  kg_doc_t *d = kube_json_parse(text, strlen(text), NULL, NULL, &err);
  for (size_t n = 1; n < kg_doc_size(d); n++) {
    kube_buf_t b = {0};
    uint8_t *half = malloc(n);
    memcpy(half, kg_doc_data(d), n);
    kube_json_write(&b, kg_view_bytes(half, n));
    cr_assert(b.failed, "%zu bytes", n);
    kube_buf_free(&b);
    free(half);
  }
  kg_doc_unref(d);
}
