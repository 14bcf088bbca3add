/* Streams: shared encoding, credit, ends. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "harness.h"

TestSuite(watch, .init = harness_start, .fini = harness_stop, .timeout = 60);
#define TABLE "Accept: application/json;as=Table;v=v1;g=meta.k8s.io,application/json\r\n"
#define HAS(text, part) cr_assert(strstr(text, part) != NULL, "no \"%s\" in: %s", part, text)

static client_t *watcher(const char *extra, call_t **call) {
  char request[512];
  snprintf(request, sizeof request,
           "GET /api/v1/pods?watch=true&allowWatchBookmarks=true HTTP/1.1\r\nHost: x\r\n%s\r\n", extra);
  client_t *c = client_open("admin", NULL);
  client_send(c, request);
  harness_run(5);
  *call = find_call("api.watch");
  call_t *k = *call;
  cr_assert(k && k->stream);
  return c;
}

Test(watch, it_opens_before_the_first_event) {
  call_t *k;
  client_t *c = watcher("", &k);
  answer(k, KG_MSG_ITEM, "{\"type\":\"SYNCED\",\"rev\":\"7\"}", NULL, 0, NULL);
  HAS(client_expect(c, "\r\n\r\n"), "Transfer-Encoding: chunked");
  client_close(c);
  cr_assert(k->cancelled);
}

Test(watch, one_of_tables_opens_before_the_first_event) {
  call_t *k;
  client_t *c = watcher(TABLE, &k);
  cr_assert(not(kg_view_bool(kg_view_get(kg_view_of(k->args), "once"), false)));
  answer(find_call("api.resolve"), KG_MSG_REPLY, "{}", NULL, 0, NULL);
  HAS(client_expect(c, "\r\n\r\n"), "Transfer-Encoding: chunked");
  client_close(c);
  cr_assert(k->cancelled);
}

/* --- hubs -------------------------------------------------------------------------------------------------------- */

/* Its own stream ends at a revision; the hub's call is given when it was opened now. */
static call_t *synced(call_t *own, int rev) {
  char args[80];
  size_t before = ncalls;
  snprintf(args, sizeof args, "{\"type\":\"SYNCED\",\"rev\":\"%d\"}", rev);
  answer(own, KG_MSG_ITEM, args, NULL, 0, NULL);
  answer(own, KG_MSG_END, NULL, NULL, 0, NULL);
  return ncalls > before ? &calls[ncalls - 1] : NULL;
}

static void event(call_t *hub, const char *type, int rev, const char *name) {
  char args[80], doc[120];
  snprintf(args, sizeof args, "{\"type\":\"%s\",\"rev\":\"%d\"}", type, rev);
  snprintf(doc, sizeof doc, "{\"kind\":\"Pod\",\"metadata\":{\"name\":\"%s\"}}", name);
  answer(hub, KG_MSG_ITEM, args, doc, 0, NULL);
}

static size_t count(const char *text, const char *part) {
  size_t n = 0;
  for (const char *at = text; (at = strstr(at, part)); at++) n++;
  return n;
}

Test(watch, those_who_watch_the_same_share_a_stream) {
  call_t *own;
  client_t *a = watcher("", &own);
  cr_assert(kg_view_bool(kg_view_get(kg_view_of(own->args), "once"), false));
  call_t *hub = synced(own, 10);
  cr_assert(hub && !strcmp(hub->topic, "api.watch"));
  kg_view_t args = kg_view_of(hub->args);
  cr_assert(not(kg_view_there(kg_view_get(args, "user"))), "each was asked for before");
  cr_assert(kg_str_is(kg_view_str(kg_view_get(args, "resourceVersion")), "10"));
  event(hub, "ADDED", 11, "one");
  client_t *b = watcher("", &own);
  cr_assert(synced(own, 11) == NULL, "no second stream");
  event(hub, "MODIFIED", 12, "two");
  event(hub, "MODIFIED", 13, "three");
  const char *text = client_expect(a, "three");
  cr_assert(eq(sz, count(text, "\"one\""), 1));
  cr_assert(strstr(text, "\"one\"") < strstr(text, "\"two\"") && strstr(text, "\"two\"") < strstr(text, "\"three\""));
  text = client_expect(b, "three");
  cr_assert(eq(sz, count(text, "\"one\""), 0), "it knew that");
  cr_assert(eq(sz, count(text, "\"two\""), 1));
  client_close(a);
  cr_assert(not(hub->cancelled));
  client_close(b);
  cr_assert(hub->cancelled, "nobody is left");
}

/* The hub may lag behind what a new watcher has seen already. */
Test(watch, what_a_watcher_knows_does_not_come_again) {
  call_t *own;
  client_t *a = watcher("", &own);
  call_t *hub = synced(own, 10);
  client_t *b = watcher("", &own);
  event(own, "ADDED", 11, "one");
  synced(own, 12);
  event(hub, "ADDED", 11, "one");
  event(hub, "ADDED", 12, "two");
  event(hub, "ADDED", 13, "three");
  const char *text = client_expect(a, "three");
  cr_assert(eq(sz, count(text, "\"one\"") + count(text, "\"two\""), 2));
  text = client_expect(b, "three");
  cr_assert(eq(sz, count(text, "\"one\""), 1));
  cr_assert(eq(sz, count(text, "\"two\""), 0));
  client_close(a);
  client_close(b);
}

Test(watch, bookmarks_are_for_those_who_asked) {
  call_t *own;
  client_t *a = watcher("", &own), *b = client_open("admin", NULL);
  call_t *hub = synced(own, 10);
  client_send(b, "GET /api/v1/pods?watch=true HTTP/1.1\r\nHost: x\r\n\r\n");
  harness_run(5);
  synced(find_call("api.watch"), 10);
  event(hub, "ADDED", 11, "one");
  event(hub, "BOOKMARK", 20, "");
  event(hub, "ADDED", 21, "two");
  cr_assert(eq(sz, count(client_expect(a, "two"), "BOOKMARK"), 1));
  cr_assert(eq(sz, count(client_expect(b, "two"), "BOOKMARK"), 0));
  client_close(a);
  client_close(b);
}

Test(watch, the_end_of_a_hub_comes_after_its_events) {
  call_t *own;
  client_t *a = watcher("", &own);
  call_t *hub = synced(own, 10);
  event(hub, "ADDED", 11, "one");
  answer(hub, KG_MSG_ERROR, NULL, NULL, 410, "too old resource version");
  const char *text = client_expect(a, "\r\n0\r\n\r\n");
  HAS(text, "\"one\"");
  HAS(strstr(text, "\"one\""), "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\"");
  client_close(a);
}

/* One who does not read costs a bounded row; those beside it go on, and it catches up from where it was. */
Test(watch, one_that_falls_behind_goes_on_alone) {
  call_t *own;
  client_t *slow = watcher("", &own);
  call_t *hub = synced(own, 10);
  client_t *quick = watcher("", &own);
  synced(own, 10);
  char *name = malloc(100001), args[80];
  memset(name, 'y', 100000);
  name[100000] = 0;
  kube_buf_t big = {0};
  kube_buf_fmt(&big, "{\"kind\":\"Pod\",\"metadata\":{\"name\":\"%s\"}}", name);
  size_t sent = 0;
  call_t *again = NULL;
  for (; sent < 400 && !again; sent++) {
    snprintf(args, sizeof args, "{\"type\":\"ADDED\",\"rev\":\"%zu\"}", 11 + sent);
    answer(hub, KG_MSG_ITEM, args, big.p, 0, NULL);
    client_expect(quick, NULL);
    client_reset(quick);
    if (&calls[ncalls - 1] != own) again = &calls[ncalls - 1];
  }
  cr_assert(again && !strcmp(again->topic, "api.watch"), "after %zu", sent);
  event(hub, "ADDED", 1000, "last");
  HAS(client_expect(quick, "last"), "last");
  long from = atol(kg_view_str(kg_view_get(kg_view_of(again->args), "resourceVersion")).p);
  cr_assert(from >= 10 && from < (long)(11 + sent));
  for (long rev = from + 1; rev < (long)(11 + sent); rev++) {
    snprintf(args, sizeof args, "{\"type\":\"ADDED\",\"rev\":\"%ld\"}", rev);
    answer(again, KG_MSG_ITEM, args, big.p, 0, NULL);
  }
  event(again, "ADDED", 1000, "last");
  synced(again, 1000);
  event(hub, "ADDED", 1001, "after");
  HAS(client_expect(quick, "after"), "after");
  const char *text = client_expect(slow, "after");
  cr_assert(eq(sz, count(text, "\"ADDED\""), sent + 2), "all of them, once");
  free(name);
  kube_buf_free(&big);
  client_close(slow);
  client_close(quick);
}

/* A reader that stopped holds back neither who joins beside it nor what that one waits for. */
Test(watch, one_that_joins_a_reader_that_stopped_gets_its_events) {
  call_t *own;
  client_t *slow = watcher("", &own);
  call_t *hub = synced(own, 10);
  char name[2001], doc[2100];
  int rev = 10;
  memset(name, 'y', 2000);
  name[2000] = 0;
  snprintf(doc, sizeof doc, "{\"kind\":\"Pod\",\"metadata\":{\"name\":\"%s\"}}", name);
  for (; rev < 30000 && hub->credit; rev++) {
    char args[80];
    snprintf(args, sizeof args, "{\"type\":\"ADDED\",\"rev\":\"%d\"}", rev + 1);
    answer(hub, KG_MSG_ITEM, args, doc, 0, NULL);
    harness_run(0);
  }
  cr_assert(eq(uint, hub->credit, 0), "nobody reads");
  client_t *quick = watcher("", &own);
  int known = rev + 1500; /* its own stream is ahead of the shared one */
  cr_assert(synced(own, known) == NULL, "it joins");
  for (; rev < known; rev++) {
    cr_assert(hub->credit > 0, "revision %d of %d", rev, known);
    event(hub, "MODIFIED", rev + 1, "old");
    harness_run(0);
  }
  cr_assert(hub->credit > 0);
  event(hub, "ADDED", rev + 1, "news");
  const char *text = client_expect(quick, "news");
  HAS(text, "\"news\"");
  cr_assert(eq(sz, count(text, "\"old\""), 0), "it knew that");
  client_close(slow);
  client_close(quick);
}

Test(watch, an_error_before_the_first_event_is_the_answer) {
  call_t *k;
  client_t *c = watcher("", &k);
  answer(k, KG_MSG_ERROR, NULL, NULL, 403, "not yours");
  HAS(client_expect(c, "\"code\":403}"), "HTTP/1.1 403 Forbidden");
  client_close(c);
}

Test(watch, a_revision_too_old_is_an_event) {
  call_t *k;
  client_t *c = watcher("", &k);
  answer(k, KG_MSG_ERROR, NULL, NULL, 410, "too old resource version");
  const char *text = client_expect(c, "\"code\":410}");
  HAS(text, "HTTP/1.1 200 OK");
  HAS(text, "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\"");
  client_close(c);
}

Test(watch, events_are_lines_and_one_encoding_serves_all) {
  call_t *a, *b;
  client_t *ca = watcher("", &a), *cb = watcher("", &b);
  kg_doc_t *doc = json("{\"kind\":\"Pod\",\"metadata\":{\"name\":\"p\"}}");
  answer_doc(a, KG_MSG_ITEM, "{\"type\":\"ADDED\",\"rv\":5}", doc);
  answer_doc(b, KG_MSG_ITEM, "{\"type\":\"ADDED\",\"rv\":5}", doc);
  cr_assert(eq(uint, kg_doc_refs(doc), 2), "one reference of ours, one of the cache");
  HAS(client_expect(ca, "}}\n"), "{\"type\":\"ADDED\",\"object\":{\"kind\":\"Pod\",\"metadata\":{\"name\":\"p\"}}}\n");
  HAS(client_expect(cb, "}}\n"), "{\"type\":\"ADDED\",\"object\":");
  answer_doc(a, KG_MSG_ITEM, "{\"type\":\"DELETED\",\"rv\":6}", doc);
  HAS(client_expect(ca, "DELETED"), "{\"type\":\"DELETED\"");
  answer(a, KG_MSG_END, NULL, NULL, 0, NULL);
  HAS(client_expect(ca, "\r\n0\r\n\r\n"), "0\r\n\r\n");
  kg_doc_unref(doc);
  client_close(ca);
  client_close(cb);
}

Test(watch, a_client_that_does_not_read_gets_no_more_credit) {
  call_t *k, *fast;
  client_t *slow = watcher("", &k), *quick = watcher("", &fast);
  char *big = malloc(200100);
  size_t n = (size_t)sprintf(big, "{\"kind\":\"Pod\",\"x\":\"");
  memset(big + n, 'y', 200000 - n);
  strcpy(big + 200000, "\"}");
  uint32_t start = k->credit;
  for (int i = 0; i < 100 && k->credit > start - 20; i++) {
    answer(k, KG_MSG_ITEM, "{\"type\":\"ADDED\"}", big, 0, NULL);
    harness_run(0);
  }
  cr_assert(eq(uint, k->credit, start - 20), "20 items are owed to a client that reads nothing");
  answer(fast, KG_MSG_ITEM, "{\"type\":\"ADDED\"}", "{\"kind\":\"Pod\"}", 0, NULL);
  HAS(client_expect(quick, "\"Pod\"}}\n"), "ADDED");
  for (int i = 0; i < 200 && k->credit < start; i++) client_expect(slow, NULL);
  cr_assert(eq(uint, k->credit, start), "it reads: the credit comes back");
  free(big);
  client_close(slow);
  client_close(quick);
}

Test(watch, tables_come_in_the_order_of_the_events) {
  call_t *k;
  client_t *c = watcher(TABLE, &k);
  answer(k, KG_MSG_ITEM, "{\"type\":\"ADDED\"}", "{\"kind\":\"Pod\",\"n\":1}", 0, NULL);
  call_t *t1 = find_call("api.table");
  answer(k, KG_MSG_ITEM, "{\"type\":\"MODIFIED\"}", "{\"kind\":\"Pod\",\"n\":2}", 0, NULL);
  call_t *t2 = find_call("api.table");
  cr_assert(t1 != t2);
  cr_assert(kg_view_bool(kg_view_get(kg_view_of(t1->args), "headers"), false));
  cr_assert(not(kg_view_bool(kg_view_get(kg_view_of(t2->args), "headers"), true)));
  answer(t2, KG_MSG_REPLY, NULL, "{\"kind\":\"Table\",\"n\":2}", 0, NULL);
  answer(t1, KG_MSG_REPLY, NULL, "{\"kind\":\"Table\",\"n\":1}", 0, NULL);
  const char *r = client_expect(c, "\"n\":2}}\n");
  const char *one = strstr(r, "\"n\":1"), *two = strstr(r, "\"n\":2");
  cr_assert(one && two && one < two, "%s", r);
  client_close(c);
}

Test(watch, logs_go_to_the_node_of_the_pod) {
  client_t *c = client_open("admin", NULL);
  client_send(c, "GET /api/v1/namespaces/d/pods/p/log?follow=true&tailLines=3 HTTP/1.1\r\nHost: x\r\n\r\n");
  harness_run(5);
  answer(find_call("api.get"), KG_MSG_REPLY, NULL,
         "{\"kind\":\"Pod\",\"spec\":{\"nodeName\":\"n7\",\"containers\":[{\"name\":\"c\"}]}}", 0, NULL);
  call_t *k = find_call("node.logs");
  cr_assert(k != NULL);
  cr_assert(eq(str, k->service, (char *)"node/n7"));
  cr_assert(eq(i64, kg_view_int(kg_view_get(kg_view_of(k->args), "tailLines"), 0), 3));
  cr_assert(kg_str_is(kg_view_str(kg_view_get(kg_view_of(k->args), "container")), "c"));
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_key(&p, "data");
  kg_pack_bin(&p, "line 1\n", 7);
  kg_pack_end(&p);
  kg_doc_t *d = kg_pack_doc(&p);
  kube_buf_t b = {0};
  (void)b;
  cr_assert(d != NULL);
  kg_doc_unref(d);
  answer(k, KG_MSG_END, NULL, NULL, 0, NULL);
  HAS(client_expect(c, "0\r\n\r\n"), "Content-Type: text/plain");
  client_close(c);
}

#define LOG "GET /api/v1/namespaces/d/pods/p/log?"
#define END " HTTP/1.1\r\nHost: x\r\n\r\n"

Test(watch, options_of_logs_are_checked_before_the_pod_is_asked_for) {
  static const struct {
    const char *request, *says;
  } cases[] = {
      {LOG "tailLines=-1" END, "422"},
      {LOG "tailLines=-1" END,
       "PodLogOptions \\\"p\\\" is invalid: tailLines: Invalid value: -1: must be greater than or equal to 0"},
      {LOG "limitBytes=0&sinceSeconds=0" END,
       "invalid: [limitBytes: Invalid value: 0: must be greater than 0, sinceSeconds: Invalid value: 0: must be"},
      {LOG "limitBytes=0" END, "\"details\":{\"name\":\"p\",\"kind\":\"PodLogOptions\",\"causes\":[{\"reason\":"
                               "\"FieldValueInvalid\",\"message\":"
                               "\"Invalid value: 0: must be greater than 0\",\"field\":\"limitBytes\"}]}"},
      {LOG "sinceSeconds=1&sinceTime=2026-01-01T00:00:00Z" END, "at most one of `sinceTime` or `sinceSeconds`"},
      {LOG "stream=Stdout" END, "stream: Forbidden: may not be specified"},
      {LOG "tailLines=x" END, "strconv.ParseInt: parsing \\\"x\\\": invalid syntax"},
      {LOG "tailLines=99999999999999999999" END, "value out of range"},
      {LOG "sinceTime=x" END, "cannot parse \\\"x\\\""},
  };
  client_t *c = client_open("admin", NULL);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    client_send(c, cases[i].request);
    HAS(client_expect(c, "}"), cases[i].says);
    cr_assert(find_call("api.get") == NULL);
    client_reset(c);
  }
  client_close(c);
}

Test(watch, a_pod_without_a_node_has_said_nothing_and_containers_must_be_chosen) {
  client_t *c = client_open("admin", NULL);
  client_send(c, "GET /api/v1/namespaces/d/pods/p/log HTTP/1.1\r\nHost: x\r\n\r\n");
  harness_run(5);
  answer(find_call("api.get"), KG_MSG_REPLY, NULL, "{\"kind\":\"Pod\",\"spec\":{\"containers\":[{\"name\":\"c\"}]}}", 0,
         NULL);
  HAS(client_expect(c, "\r\n\r\n"), "204 No Content");
  client_reset(c);
  client_send(c, "GET /api/v1/namespaces/d/pods/p/log HTTP/1.1\r\nHost: x\r\n\r\n");
  harness_run(5);
  answer(
      find_call("api.get"), KG_MSG_REPLY, NULL,
      "{\"kind\":\"Pod\",\"metadata\":{\"annotations\":{\"kubectl.kubernetes.io/default-container\":\"b\"}},\"spec\":{"
      "\"nodeName\":\"n\",\"containers\":[{\"name\":\"a\"},{\"name\":\"b\"}],\"initContainers\":[{\"name\":\"i\"}]}}",
      0, NULL);
  HAS(client_expect(c, "\"code\":400}"), "a container name must be specified for pod p, choose one of: [i a b]");
  client_close(c);
}

Test(watch, exec_needs_an_upgrade_and_a_container) {
  client_t *c = client_open("admin", NULL);
  client_send(c, "POST /api/v1/namespaces/d/pods/p/exec?command=ls HTTP/1.1\r\nHost: x\r\n\r\n");
  HAS(client_expect(c, "\"code\":400}"), "Upgrade request required");
  client_close(c);
}

Test(watch, exec_speaks_channels_over_websocket) {
  client_t *c = client_open("admin", NULL);
  client_send(c, "GET /api/v1/namespaces/d/pods/p/exec?command=sh&command=-c&command=ls+%2F&stdin=true&stdout=true "
                 "HTTP/1.1\r\nHost: x\r\n"
                 "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
                 "dGhlIHNhbXBsZSBub25jZQ==\r\n"
                 "Sec-WebSocket-Protocol: v5.channel.k8s.io\r\n\r\n");
  harness_run(5);
  answer(find_call("api.get"), KG_MSG_REPLY, NULL,
         "{\"kind\":\"Pod\",\"spec\":{\"nodeName\":\"n7\",\"containers\":[{\"name\":\"c\"}]}}", 0, NULL);
  call_t *k = find_call("node.exec");
  cr_assert(k != NULL);
  cr_assert(kg_str_is(kg_view_str(kg_view_at(kg_view_get(kg_view_of(k->args), "command"), 2)), "ls /"));
  const char *r = client_expect(c, "\r\n\r\n");
  HAS(r, "HTTP/1.1 101 Switching Protocols");
  HAS(r, "Sec-Websocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
  client_reset(c);
  /* A masked binary frame: channel 0, "hi". */
  client_sendn(c, "\x82\x83\x01\x02\x03\x04\x01\x6a\x6a", 9);
  harness_run(5);
  kg_view_t item = kg_view_of(k->body);
  cr_assert(kg_str_is(kg_view_bin(kg_view_get(item, "data")), "hi"));
  answer(k, KG_MSG_ITEM, "{\"exit\":3}", NULL, 0, NULL);
  answer(k, KG_MSG_END, NULL, NULL, 0, NULL);
  client_expect(c, "ExitCode");
  cr_assert(memmem(c->in, c->n, "\"reason\":\"ExitCode\",\"message\":\"3\"", 33) != NULL);
  client_close(c);
}

Test(watch, an_exec_that_is_refused_says_so_as_a_kubelet_behind_an_api_server) {
  client_t *c = client_open("admin", NULL);
  client_send(c, "GET /api/v1/namespaces/d/pods/p/exec?command=sh&stdout=true HTTP/1.1\r\nHost: x\r\n"
                 "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
                 "dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: v5.channel.k8s.io\r\n\r\n");
  harness_run(5);
  answer(find_call("api.get"), KG_MSG_REPLY, NULL,
         "{\"kind\":\"Pod\",\"spec\":{\"nodeName\":\"n7\",\"containers\":[{\"name\":\"c\"}]}}", 0, NULL);
  answer(find_call("node.exec"), KG_MSG_ERROR, NULL, NULL, KG_ENOTFOUND, "container not found (\"c\")");
  client_expect(c, "code");
  const char *says = "Internal error occurred: unable to upgrade connection: container not found (\\\"c\\\")";
  cr_assert(memmem(c->in, c->n, says, strlen(says)) != NULL);
  client_close(c);
}

static void answer_line(call_t *k) {
  static char line[16384];
  memset(line, 'y', sizeof line);
  kg_pack_t p = kg_pack();
  kg_pack_map(&p);
  kg_pack_key(&p, "data");
  kg_pack_bin(&p, line, sizeof line);
  kg_pack_end(&p);
  kg_doc_t *args = kg_pack_doc(&p);
  answer_args(k, KG_MSG_ITEM, args);
  kg_doc_unref(args);
}

Test(watch, who_reads_page_by_page_keeps_the_log) {
  client_t *c = client_open("admin", NULL);
  client_send(c, "GET /api/v1/namespaces/d/pods/p/log?follow=true HTTP/1.1\r\nHost: x\r\n\r\n");
  harness_run(5);
  answer(find_call("api.get"), KG_MSG_REPLY, NULL,
         "{\"kind\":\"Pod\",\"spec\":{\"nodeName\":\"n7\",\"containers\":[{\"name\":\"c\"}]}}", 0, NULL);
  call_t *k = find_call("node.logs");
  uint32_t start = k->credit;
  for (int i = 0; i < 2000 && k->credit > start - 20; i++) {
    answer_line(k);
    harness_run(0);
  }
  cr_assert(gt(sz, gw->conns->out.bytes + gw->conns->nleft, 0), "nobody reads");
  for (int i = 0; i < 3; i++) {
    harness_later_ms += 100000;
    harness_run(5);
  }
  cr_assert(gw->conns != NULL, "it is still there after five minutes");
  for (int i = 0; i < 200 && k->credit < start; i++) client_expect(c, NULL);
  answer(k, KG_MSG_END, NULL, NULL, 0, NULL);
  client_expect(c, "\r\n0\r\n\r\n");
  client_close(c);
}
