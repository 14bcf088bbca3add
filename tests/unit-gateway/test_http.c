/* HTTP/1.1 as clients, good and bad, send it. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "harness.h"

TestSuite(http, .init = harness_start, .fini = harness_stop, .timeout = 60);

#define HAS(text, part) cr_assert(strstr(text, part) != NULL, "no \"%s\" in: %s", part, text)
#define HAS_NOT(text, part) cr_assert(strstr(text, part) == NULL, "unexpected \"%s\" in: %s", part, text)

static size_t count(const char *text, const char *part) {
  size_t n = 0;
  for (const char *s = text; (s = strstr(s, part)); s++) n++;
  return n;
}

static call_t *called(const char *topic) {
  harness_run(20);
  call_t *call = find_call(topic);
  cr_assert(call != NULL, "%s was not asked", topic);
  return call;
}

Test(http, anybody_may_ask_for_the_version) {
  client_t *c = client_open("", NULL);
  client_send(c, "GET /version HTTP/1.1\r\nHost: x\r\n\r\n");
  const char *r = client_expect(c, "}");
  HAS(r, "HTTP/1.1 200 OK\r\n");
  HAS(r, "\"minor\": \"37\"");
  HAS(r, "Content-Type: application/json\r\n");
  client_close(c);
}

Test(http, who_shows_nothing_asks_as_anonymous_and_hears_what_the_api_role_says) {
  client_t *c = client_open("", NULL);
  client_send(c, "GET /api/v1/namespaces/default/pods HTTP/1.1\r\nHost: x\r\n\r\n");
  call_t *call = called("api.list");
  cr_assert(kg_str_is(kg_view_str(kg_view_path(kg_view_of(call->args), "user", "name", NULL)), "system:anonymous"));
  answer(call, KG_MSG_ERROR, NULL, "{\"kind\":\"Status\",\"code\":403}", 403, "forbidden");
  HAS(client_expect(c, "\"code\":403}"), "HTTP/1.1 403 Forbidden\r\n");
  client_close(c);
}

Test(http, a_url_that_is_no_resource_is_asked_for_before_it_is_shown) {
  client_t *c = client_open("", NULL);
  client_send(c, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
  call_t *call = called("api.authorize");
  cr_assert(kg_str_is(kg_view_str(kg_view_get(kg_view_of(call->args), "path")), "/metrics"));
  cr_assert(kg_str_is(kg_view_str(kg_view_get(kg_view_of(call->args), "verb")), "get"));
  answer(call, KG_MSG_ERROR, NULL, NULL, 403, "forbidden: User \"system:anonymous\" cannot get path \"/metrics\"");
  HAS(client_expect(c, "\"code\":403}"), "cannot get path");
  client_close(c);
}

Test(http, impersonation_is_asked_for_part_by_part) {
  client_t *c = client_open("admin", NULL);
  client_send(c, "GET /api/v1/pods HTTP/1.1\r\nHost: x\r\nImpersonate-User: carol\r\nImpersonate-Group: devs\r\n"
                 "Impersonate-Extra-Scope: a\r\n\r\n");
  static const char *const asked[][2] = {{"users", "carol"}, {"groups", "devs"}, {"userextras", "a"}};
  for (int i = 0; i < 3; i++) {
    call_t *call = called("api.authorize");
    kg_view_t args = kg_view_of(call->args);
    cr_assert(kg_str_is(kg_view_str(kg_view_get(args, "verb")), "impersonate"));
    cr_assert(kg_str_is(kg_view_str(kg_view_get(args, "r")), asked[i][0]));
    cr_assert(kg_str_is(kg_view_str(kg_view_get(args, "name")), asked[i][1]));
    answer(call, KG_MSG_REPLY, NULL, NULL, 0, NULL);
  }
  kg_view_t user = kg_view_get(kg_view_of(called("api.list")->args), "user");
  cr_assert(kg_str_is(kg_view_str(kg_view_get(user, "name")), "carol"));
  cr_assert(kg_str_is(kg_view_str(kg_view_at(kg_view_get(user, "groups"), 1)), "system:authenticated"));
  cr_assert(kg_str_is(kg_view_str(kg_view_at(kg_view_path(user, "extra", "scope", NULL), 0)), "a"));
  client_close(c);
}

Test(http, a_certificate_of_another_authority_is_nobody) {
  client_t *c = client_open("foreign", NULL);
  client_send(c, "GET /api/v1/pods HTTP/1.1\r\nHost: x\r\n\r\n");
  HAS(client_expect(c, "\"code\":401}"), "Unauthorized");
  cr_assert(eq(sz, ncalls, 0));
  client_close(c);
}

Test(http, a_made_up_token_is_refused) {
  client_t *c = client_open("", NULL);
  client_send(c, "GET /api/v1/pods HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer abc.def.ghi\r\n\r\n");
  HAS(client_expect(c, "}"), "401 Unauthorized");
  client_close(c);
}

Test(http, a_service_account_token_names_its_user) {
  kg_doc_t *claims = json("{\"sub\":\"system:serviceaccount:ns1:robot\",\"exp\":4102444800}");
  char *token = gw_jwt_sign(gw, kg_view_of(claims), NULL), request[2048];
  snprintf(request, sizeof request, "GET /api/v1/pods HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", token);
  client_t *c = client_open("", NULL);
  client_send(c, request);
  harness_run(5);
  call_t *k = find_call("api.list");
  cr_assert(k != NULL);
  kg_view_t user = kg_view_get(kg_view_of(k->args), "user");
  cr_assert(kg_str_is(kg_view_str(kg_view_get(user, "name")), "system:serviceaccount:ns1:robot"));
  cr_assert(kg_str_is(kg_view_str(kg_view_at(kg_view_get(user, "groups"), 1)), "system:serviceaccounts:ns1"));
  client_close(c);
  kg_doc_unref(claims);
  free(token);
}

Test(http, a_get_becomes_a_call_and_its_document_the_answer) {
  client_t *c = client_open("admin", NULL);
  client_send(c, "GET /apis/apps/v1/namespaces/a/deployments/web HTTP/1.1\r\nHost: x\r\n\r\n");
  harness_run(5);
  call_t *k = find_call("api.get");
  cr_assert(k != NULL);
  kg_view_t a = kg_view_of(k->args);
  cr_assert(kg_str_is(kg_view_str(kg_view_get(a, "g")), "apps"));
  cr_assert(kg_str_is(kg_view_str(kg_view_get(a, "ns")), "a"));
  cr_assert(kg_str_is(kg_view_str(kg_view_get(a, "name")), "web"));
  cr_assert(kg_str_is(kg_view_str(kg_view_path(a, "user", "name", NULL)), "kubernetes-admin"));
  answer(k, KG_MSG_REPLY, NULL, "{\"kind\":\"Deployment\",\"metadata\":{\"name\":\"web\"}}", 0, NULL);
  const char *r = client_expect(c, "}}");
  HAS(r, "200 OK");
  HAS(r, "\r\n\r\n{\"kind\":\"Deployment\",\"metadata\":{\"name\":\"web\"}}");
  client_close(c);
}

Test(http, three_requests_sent_at_once_are_answered_in_order) {
  client_t *c = client_open("admin", NULL);
  client_send(c, "GET /version HTTP/1.1\r\nHost: x\r\n\r\nGET /api/v1/nodes/n1 HTTP/1.1\r\nHost: x\r\n\r\nGET /nowhere "
                 "HTTP/1.1\r\nHost: x\r\n\r\n");
  harness_run(5);
  answer(find_call("api.get"), KG_MSG_REPLY, NULL, "{\"kind\":\"Node\"}", 0, NULL);
  const char *r = client_expect(c, "404 page not found");
  const char *version = strstr(r, "gitVersion"), *node = strstr(r, "\"Node\""), *nowhere = strstr(r, "404 page");
  cr_assert(version && node && nowhere && version < node && node < nowhere, "%s", r);
  client_close(c);
}

Test(http, a_request_may_come_byte_by_byte) {
  client_t *c = client_open("", NULL);
  for (const char *s = "GET /version HTTP/1.1\r\nHost: x\r\n\r\n"; *s; s++) client_sendn(c, s, 1), harness_run(0);
  HAS(client_expect(c, "}"), "200 OK");
  client_close(c);
}

Test(http, a_connection_serves_request_after_request) {
  client_t *c = client_open("", NULL);
  for (int i = 0; i < 20; i++) {
    client_reset(c);
    client_send(c, i % 2 ? "GET /version HTTP/1.1\r\nHost: x\r\n\r\n" : "HEAD /version HTTP/1.1\r\nHost: x\r\n\r\n");
    HAS(client_expect(c, i % 2 ? "}" : "\r\n\r\n"), "200 OK");
  }
  cr_assert(eq(u64, gw->accepted, 1));
  client_close(c);
}

Test(http, a_lone_carriage_return_is_refused) {
  /* llhttp 8.1.0 would take "x\rContent-Length: 5" for two header lines: request smuggling. */
  client_t *c = client_open("", NULL);
  client_send(c, "GET /version HTTP/1.1\r\nHost: x\rContent-Length: 5\r\n\r\nGET / HTTP/1.1\r\n\r\n");
  const char *r = client_expect(c, "Bad Request");
  HAS(r, "HTTP/1.1 400");
  HAS_NOT(r, "200 OK");
  HAS(r, "Connection: close");
  client_close(c);
}

Test(http, a_lone_line_feed_is_refused) {
  client_t *c = client_open("", NULL);
  client_send(c, "GET /version HTTP/1.1\nHost: x\n\n");
  HAS(client_expect(c, "Bad Request"), "HTTP/1.1 400");
  client_close(c);
}

Test(http, two_lengths_of_one_body_are_refused) {
  client_t *c = client_open("admin", NULL);
  client_send(
      c,
      "POST /api/v1/namespaces HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
      "GET /version HTTP/1.1\r\nHost: x\r\n\r\n");
  const char *r = client_expect(c, "Bad Request");
  HAS(r, "HTTP/1.1 400");
  HAS_NOT(r, "gitVersion");
  client_close(c);
}

Test(http, trailers_are_refused) {
  client_t *c = client_open("admin", NULL);
  client_send(
      c,
      "POST /api/v1/namespaces HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX: y\r\n\r\n");
  HAS(client_expect(c, "Bad Request"), "HTTP/1.1 400");
  client_close(c);
}

Test(http, a_chunked_body_arrives_whole) {
  client_t *c = client_open("admin", NULL);
  client_send(c, "POST /api/v1/namespaces?fieldManager=m HTTP/1.1\r\nHost: x\r\nContent-Type: "
                 "application/json\r\nTransfer-Encoding: "
                 "chunked\r\n\r\n6\r\n{\"kind\r\ne\r\n\":\"Namespace\"}\r\n0\r\n\r\n");
  harness_run(5);
  call_t *k = find_call("api.create");
  cr_assert(k && k->body);
  cr_assert(kg_str_is(kg_view_str(kg_view_get(kg_view_of(k->body), "kind")), "Namespace"));
  cr_assert(kg_str_is(kg_view_str(kg_view_get(kg_view_of(k->args), "fieldManager")), "m"));
  answer(k, KG_MSG_REPLY, "{\"code\":201,\"warnings\":[\"old \\\"field\\\"\"]}", "{\"kind\":\"Namespace\"}", 0, NULL);
  const char *r = client_expect(c, "\"Namespace\"}");
  HAS(r, "201 Created");
  HAS(r, "Warning: 299 - \"old \\\"field\\\"\"\r\n");
  client_close(c);
}

Test(http, a_body_that_is_too_large_is_refused_and_the_answer_arrives) {
  client_t *c = client_open("admin", NULL);
  client_send(c, "POST /api/v1/namespaces HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: "
                 "9000000\r\n\r\n");
  char *big = calloc(1, 200000);
  client_sendn(c, big, 200000);
  HAS(client_expect(c, "\"code\":413}"), "HTTP/1.1 413");
  free(big);
  client_close(c);
}

Test(http, a_head_that_is_too_large_is_refused) {
  client_t *c = client_open("", NULL);
  client_send(c, "GET /version HTTP/1.1\r\n");
  char line[1100];
  memset(line, 'a', sizeof line);
  memcpy(line, "X: ", 3);
  memcpy(line + 1097, "\r\n", 3);
  for (int i = 0; i < 80; i++) client_send(c, line);
  client_send(c, "\r\n");
  HAS(client_expect(c, "431 Request Header"), "HTTP/1.1 431");
  client_close(c);
}

Test(http, a_client_that_waits_for_continue_is_told_to) {
  client_t *c = client_open("admin", NULL);
  client_send(c, "PUT /api/v1/nodes/n HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nExpect: "
                 "100-continue\r\nContent-Length: 2\r\n\r\n");
  HAS(client_expect(c, "\r\n\r\n"), "HTTP/1.1 100 Continue");
  client_send(c, "{}");
  harness_run(5);
  cr_assert(find_call("api.update") != NULL);
  client_close(c);
}

Test(http, nobodys_body_is_not_read) {
  client_t *c = client_open("", NULL);
  client_send(c,
              "POST /api/v1/namespaces HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer nobody\r\nContent-Length: 5000\r\n"
              "Expect: 100-continue\r\n\r\n");
  const char *r = client_expect(c, "\"code\":401}");
  HAS(r, "HTTP/1.1 401");
  HAS_NOT(r, "100 Continue");
  client_close(c);
}

Test(http, bodies_under_way_share_one_budget) {
  enum { MANY = 10, HALF = 2 << 20 };
  client_t *all[MANY];
  char *half = calloc(1, HALF);
  for (int i = 0; i < MANY; i++) { /* strangers, so 8 MiB in all */
    all[i] = client_open("", NULL);
    client_send(all[i], "POST /api/v1/namespaces HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n");
    client_sendn(all[i], half, HALF);
    harness_run(1);
  }
  free(half);
  const char *r = client_expect(all[MANY - 1], "\"code\":429}");
  HAS(r, "HTTP/1.1 429");
  HAS(r, "Retry-After: 1\r\n");
  HAS(r, "\"details\":{\"retryAfterSeconds\":1}");
  cr_assert(gw->held > HALF && gw->held <= 8 << 20 && gw->held == gw->held_by_strangers);
  for (int i = 0; i < MANY; i++) client_close(all[i]);
  harness_run(5);
  cr_assert(gw->held == 0 && gw->held_by_strangers == 0);
}

Test(http, bodies_of_unknown_form_are_refused_and_broken_json_says_so) {
  client_t *c = client_open("admin", NULL);
  client_send(c,
              "POST /api/v1/namespaces HTTP/1.1\r\nHost: x\r\nContent-Type: text/html\r\nContent-Length: 3\r\n\r\nk8s");
  HAS(client_expect(c, "\"code\":415}"), "UnsupportedMediaType");
  client_reset(c);
  client_send(
      c,
      "POST /api/v1/namespaces HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 3\r\n\r\n{\"a");
  HAS(client_expect(c, "\"code\":400}"), "json parse error");
  client_reset(c);
  client_send(c, "GET /api/v1/pods HTTP/1.1\r\nHost: x\r\nAccept: application/cbor\r\n\r\n");
  HAS(client_expect(c, "\"code\":406}"), "NotAcceptable");
  client_close(c);
}

Test(http, the_api_roles_own_status_is_the_answer) {
  client_t *c = client_open("admin", NULL);
  client_send(c, "GET /api/v1/namespaces/nope HTTP/1.1\r\nHost: x\r\n\r\n");
  harness_run(5);
  answer(find_call("api.get"), KG_MSG_ERROR, NULL, "{\"kind\":\"Status\",\"reason\":\"NotFound\",\"code\":404}", 404,
         "x");
  HAS(client_expect(c, "404}"), "HTTP/1.1 404 Not Found");
  client_close(c);
}

Test(http, a_list_is_put_together_from_its_items) {
  client_t *c = client_open("admin", NULL);
  client_send(c, "GET /api/v1/pods?limit=5&labelSelector=a%3Db HTTP/1.1\r\nHost: x\r\n\r\n");
  harness_run(5);
  call_t *k = find_call("api.list");
  cr_assert(kg_str_is(kg_view_str(kg_view_get(kg_view_of(k->args), "labelSelector")), "a=b"));
  cr_assert(eq(i64, kg_view_int(kg_view_get(kg_view_of(k->args), "limit"), 0), 5));
  answer(k, KG_MSG_REPLY,
         "{\"rv\":\"77\",\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"continue\":\"tok\",\"remaining\":3}",
         "{\"kind\":\"Pod\"}", 0, NULL);
  HAS(client_expect(c, "]}"),
      "{\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":\"77\",\"continue\":\"tok\","
      "\"remainingItemCount\":3},\"items\":[{\"kind\":\"Pod\"}]}");
  client_close(c);
}

Test(http, a_large_answer_is_compressed_for_those_who_ask) {
  client_t *c = client_open("admin", NULL);
  client_send(c, "GET /api/v1/nodes/n HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n");
  harness_run(5);
  char *big = malloc(300100);
  size_t n = (size_t)sprintf(big, "{\"kind\":\"Node\",\"x\":\"");
  memset(big + n, 'y', 300000 - n);
  strcpy(big + 300000, "\"}");
  answer(find_call("api.get"), KG_MSG_REPLY, NULL, big, 0, NULL);
  const char *r = client_expect(c, "\r\n\r\n");
  HAS(r, "Content-Encoding: gzip");
  cr_assert(lt(sz, c->n, 10000));
  free(big);
  client_close(c);
}

Test(http, a_client_that_goes_away_cancels_its_call) {
  client_t *c = client_open("admin", NULL);
  client_send(c, "GET /api/v1/nodes/n HTTP/1.1\r\nHost: x\r\n\r\n");
  harness_run(5);
  call_t *k = find_call("api.get");
  client_close(c);
  cr_assert(k->cancelled);
  cr_assert(eq(sz, gw->nconns, 0));
}

Test(http, an_upgrade_that_is_not_granted_leaves_a_usable_connection) {
  client_t *c = client_open("", NULL);
  client_send(c, "GET /version HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\nGET /version "
                 "HTTP/1.1\r\nHost: x\r\n\r\n");
  client_expect(c, "}");
  harness_run(5);
  cr_assert(eq(sz, count(client_expect(c, NULL), "200 OK"), 2));
  client_close(c);
}

Test(http, http_1_0_ends_with_the_connection) {
  client_t *c = client_open("", NULL);
  client_send(c, "GET /version HTTP/1.0\r\n\r\n");
  HAS(client_expect(c, "}"), "Connection: close");
  harness_run(5);
  client_expect(c, NULL);
  cr_assert(c->eof);
  client_close(c);
}

static const char *proxied(client_t *c, const char *ip) {
  char pod[100];
  snprintf(pod, sizeof pod, "{\"kind\":\"Pod\",\"metadata\":{\"name\":\"p\"},\"status\":{\"podIP\":\"%s\"}}", ip);
  client_reset(c);
  client_send(c, "GET /api/v1/namespaces/d/pods/p:1/proxy/ HTTP/1.1\r\nHost: x\r\n\r\n");
  answer(called("api.get"), KG_MSG_REPLY, NULL, pod, 0, NULL);
  return client_expect(c, "\"code\":");
}

/* However it is written, nobody reaches the node itself or the cloud's metadata through a pod's status. */
Test(http, the_proxy_goes_to_no_address_of_the_node) {
  static const char *const forbidden[] = {
      "127.0.0.1",        "169.254.169.254",        "0.0.0.0",       "::1", "fe80::1",
      "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:0.0.0.0"};
  client_t *c = client_open("admin", NULL);
  for (size_t i = 0; i < sizeof forbidden / sizeof *forbidden; i++)
    HAS(proxied(c, forbidden[i]), "address not allowed");
  client_close(c);
}
