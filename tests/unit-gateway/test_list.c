/* Long lists: whole, in order, however they leave; what is encoded already is used again and is never out of date. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <zlib.h>

#include "harness.h"

TestSuite(list, .init = harness_start, .fini = harness_stop, .timeout = 60);
enum { MANY = 3000 };
static kg_doc_t *docs[MANY];

static kg_doc_t *object(int i, const char *state) {
  char text[400];
  snprintf(text, sizeof text, "{\"kind\":\"Pod\",\"metadata\":{\"name\":\"p-%d\"},\"x\":\"%s%0200d\"}", i, state, i);
  return json(text);
}

static void make_docs(void) {
  for (int i = 0; i < MANY; i++) docs[i] = object(i, "");
}

static void free_docs(void) {
  for (int i = 0; i < MANY; i++) kg_doc_clear(&docs[i]);
}

/* Takes the chunks of a body apart, in place. */
static size_t join_chunks(char *p, char *body) {
  size_t n = 0;
  for (;;) {
    size_t size = strtoul(p, &p, 16);
    cr_assert(memcmp(p, "\r\n", 2) == 0);
    memmove(body + n, p + 2, size);
    n += size;
    p += 2 + size;
    cr_assert(memcmp(p, "\r\n", 2) == 0);
    p += 2;
    if (!size) return n;
  }
}

static size_t ask(client_t *c, const char *headers, size_t n, char **body) {
  char request[300];
  client_reset(c);
  snprintf(request, sizeof request, "GET /api/v1/pods HTTP/1.1\r\nHost: x\r\n%s\r\n", headers);
  client_send(c, request);
  harness_run(5);
  answer_list(find_call("api.list"), "{\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"rv\":\"77\"}", docs, n);
  client_expect(c, "\r\n0\r\n\r\n");
  char *end = strstr(c->in, "\r\n\r\n");
  cr_assert(end && strstr(c->in, "Transfer-Encoding: chunked"), "%s", c->in);
  *body = end + 4;
  size_t size = join_chunks(*body, *body);
  (*body)[size] = 0;
  return size;
}

static void expect_list(const char *text, size_t n) {
  kube_buf_t want = {0};
  kube_buf_addz(&want,
                "{\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":\"77\"},\"items\":[");
  for (size_t i = 0; i < n; i++) {
    if (i) kube_buf_addz(&want, ",");
    kube_json_write(&want, kg_view_of(docs[i]));
  }
  kube_buf_addz(&want, "]}");
  kube_buf_add(&want, "", 1);
  cr_assert(strcmp(want.p, text) == 0, "%.300s", text);
  kube_buf_free(&want);
}

Test(list, a_long_one_is_whole_and_what_changed_is_new) {
  char *body;
  client_t *c = client_open("admin", NULL);
  make_docs();
  ask(c, "", MANY, &body);
  expect_list(body, MANY);
  ask(c, "", MANY, &body); /* mostly encoded already */
  expect_list(body, MANY);
  for (int i = 0; i < MANY; i += 700) {
    kg_doc_unref(docs[i]);
    docs[i] = object(i, "changed");
  }
  ask(c, "", MANY, &body);
  expect_list(body, MANY);
  ask(c, "", MANY - 1200, &body);
  expect_list(body, MANY - 1200);
  free_docs();
  client_close(c);
}

Test(list, metadata_is_kept_apart_from_objects) {
  char *body;
  client_t *c = client_open("admin", NULL);
  make_docs();
  ask(c, "", MANY, &body);
  ask(c, "Accept: application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io\r\n", MANY, &body);
  cr_assert(strstr(body, "\"kind\":\"PartialObjectMetadataList\"") && !strstr(body, "\"x\":"), "%.300s", body);
  ask(c, "", MANY, &body);
  expect_list(body, MANY);
  free_docs();
  client_close(c);
}

Test(list, one_may_be_zipped_on_its_way) {
  char *body;
  client_t *c = client_open("admin", NULL);
  make_docs();
  size_t n = ask(c, "Accept-Encoding: gzip\r\n", MANY, &body), room = 1 << 20;
  cr_assert(strstr(c->in, "Content-Encoding: gzip") != NULL);
  char *text = malloc(room + 1);
  z_stream z = {.next_in = (Bytef *)body, .avail_in = (uInt)n, .next_out = (Bytef *)text, .avail_out = (uInt)room};
  cr_assert(eq(int, inflateInit2(&z, 15 + 16), Z_OK));
  cr_assert(eq(int, inflate(&z, Z_FINISH), Z_STREAM_END));
  text[z.total_out] = 0;
  inflateEnd(&z);
  expect_list(text, MANY);
  free(text);
  free_docs();
  client_close(c);
}

Test(list, who_does_not_read_costs_little) {
  client_t *c = client_open("admin", NULL);
  make_docs();
  client_send(c, "GET /api/v1/pods HTTP/1.1\r\nHost: x\r\n\r\n");
  harness_run(5);
  kg_doc_t **many = malloc(20 * MANY * sizeof *many);
  for (size_t i = 0; i < 20 * MANY; i++) many[i] = docs[i % MANY];
  answer_list(find_call("api.list"), "{\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"rv\":\"77\"}", many, 20 * MANY);
  harness_run(5);
  cr_assert(lt(sz, gw->conns->out.bytes + gw->conns->nleft, 512 << 10), "of 16 MB");
  cr_assert(gt(uint, kg_doc_refs(docs[0]), 20), "the list is held until it has gone");
  client_close(c);
  gw_runs_free(gw);
  cr_assert(eq(uint, kg_doc_refs(docs[0]), 1));
  free(many);
  free_docs();
}
