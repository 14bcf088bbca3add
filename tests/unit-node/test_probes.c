/* Probes over real sockets, and what their results do to containers. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fake.h"
#include "server.h"
#include "world.h"

/* A pod of one running container with these probes: JSON without braces. */
static void probed(world_t *w, const char *more, const char *probes) {
  char spec[2000];
  snprintf(spec, sizeof spec, "%s\"containers\":[{\"name\":\"c\",\"image\":\"here\",\"command\":[\"run\"],%s}]", more,
           probes);
  create_pod(w, "p", spec);
}

static void http_probe(world_t *w, const char *kind, int port, const char *more) {
  char text[512];
  snprintf(text, sizeof text, "\"%s\":{\"httpGet\":{\"host\":\"127.0.0.1\",\"port\":%d,%s},\"periodSeconds\":1}", kind,
           port, more);
  probed(w, "", text);
}

Test(probes, readiness_over_http_follows_the_answer) {
  world_t w;
  begin(&w);
  server_t *s = server_start(SERVE_HTTP);
  server_answer(s, "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n");
  http_probe(
      &w, "readinessProbe", server_port(s),
      "\"path\":\"healthz?x=1\",\"httpHeaders\":[{\"name\":\"X-A\",\"value\":\"b\"},{\"name\":\"Host\",\"value\":"
      "\"me\"}]");
  expect_event(&w, "Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503");
  expect_object(&w, POD_ARGS("p"), "\"ready\":false");
  cr_assert(server_was_asked(s, "GET /healthz?x=1 HTTP/1.1\r\n"));
  cr_assert(server_was_asked(s, "X-A: b\r\n") && server_was_asked(s, "Host: me\r\n"));
  cr_assert(server_was_asked(s, "User-Agent: kube-probe/1.37\r\n"));
  server_answer(s, "HTTP/1.1 204 Yes\r\n\r\n");
  expect_object(&w, POD_ARGS("p"), "\"ready\":true");
  cr_assert_eq(fake_calls("runtime.container.stop", NULL), 0, "readiness ends nothing");
  server_stop(s);
  expect_object(&w, POD_ARGS("p"), "\"ready\":false"); /* after three failures */
  expect_event(&w, "Unhealthy", "connect: connection refused");
  finish(&w);
}

Test(probes, certificates_are_not_looked_at) {
  world_t w;
  begin(&w);
  server_t *s = server_start(SERVE_HTTPS);
  http_probe(&w, "readinessProbe", server_port(s), "\"scheme\":\"HTTPS\"");
  expect_object(&w, POD_ARGS("p"), "\"ready\":true");
  server_stop(s);
  finish(&w);
}

Test(probes, redirects_are_followed_at_home_only) {
  world_t w;
  begin(&w);
  server_t *s = server_start(SERVE_HTTP);
  server_answer(s, "HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n");
  http_probe(&w, "readinessProbe", server_port(s), "\"path\":\"/\"");
  expect_event(&w, "Unhealthy", "stopped after 10 redirects");
  cr_assert(server_was_asked(s, "GET /again HTTP/1.1\r\n"));
  server_answer(s, "HTTP/1.1 302 Found\r\nLocation: http://0.0.0.0/\r\nContent-Length: 2\r\n\r\nhi");
  expect_event(&w, "ProbeWarning", "Readiness probe warning: Probe terminated redirects, Response body: hi");
  expect_object(&w, POD_ARGS("p"), "\"ready\":true");
  server_stop(s);
  finish(&w);
}

Test(probes, silence_is_a_timeout) {
  world_t w;
  begin(&w);
  server_t *s = server_start(SERVE_SILENCE);
  http_probe(&w, "readinessProbe", server_port(s), "\"path\":\"/\"");
  expect_event(&w, "Unhealthy", "context deadline exceeded (Client.Timeout exceeded while awaiting headers)");
  finish(&w);
  server_stop(s);
}

Test(probes, tcp_and_grpc) {
  world_t w;
  char text[512];
  begin(&w);
  server_t *s = server_start(SERVE_GRPC);
  server_answer(s, "2");
  cr_assert(server_port(s) > 0);
  snprintf(text, sizeof text,
           "\"livenessProbe\":{\"tcpSocket\":{\"host\":\"127.0.0.1\",\"port\":%d},\"periodSeconds\":1}",
           server_port(s));
  probed(&w, "", text);
  expect_object(&w, POD_ARGS("p"), "\"ready\":true");
  must(&w, "api.delete", POD_ARGS("p"), NULL);
  expect_object(&w, POD_ARGS("p"), NULL);
  snprintf(text, sizeof text,
           "\"readinessProbe\":{\"grpc\":{\"port\":%d,\"service\":\"s\"},\"periodSeconds\":1,\"timeoutSeconds\":1}",
           server_port(s));
  probed(&w, "\"hostNetwork\":true,", text);
  expect_event(&w, "Unhealthy", "Readiness probe failed: service unhealthy (responded with \"NOT_SERVING\")");
  server_answer(s, "1");
  expect_object(&w, POD_ARGS("p"), "\"ready\":true");
  cr_assert(server_was_asked(s, "PRI * HTTP/2.0\r\n"));
  finish(&w);
  server_stop(s);
}

Test(probes, a_failed_liveness_probe_restarts_the_container) {
  world_t w;
  begin(&w);
  char file[256], text[512];
  snprintf(file, sizeof file, "%s/alive", w.dir);
  fclose(fopen(file, "w"));
  snprintf(text, sizeof text,
           "\"livenessProbe\":{\"exec\":{\"command\":[\"there\",\"%s\",\"gone\"]},\"periodSeconds\":1,"
           "\"failureThreshold\":2,\"terminationGracePeriodSeconds\":7}",
           file);
  probed(&w, "", text);
  expect_object(&w, POD_ARGS("p"), "\"ready\":true");
  expect_calls("runtime.exec", NULL, 2);
  unlink(file);
  expect_event(&w, "Killing", "Container c failed liveness probe, will be restarted");
  expect_event(&w, "Unhealthy", "Liveness probe failed: gone");
  cr_assert_eq(fake_grace("-c-0"), 7000);
  expect_object(&w, POD_ARGS("p"), "\"restartCount\":1");
  finish(&w);
}

Test(probes, others_wait_for_the_startup_probe) {
  world_t w;
  begin(&w);
  char file[256], text[1024];
  snprintf(file, sizeof file, "%s/started", w.dir);
  snprintf(text, sizeof text,
           "\"startupProbe\":{\"exec\":{\"command\":[\"there\",\"%s\",\"not yet\"]},\"periodSeconds\":1},"
           "\"livenessProbe\":{\"exec\":{\"command\":[\"1\",\"dead\"]},\"periodSeconds\":1,\"failureThreshold\":1}",
           file);
  probed(&w, "\"restartPolicy\":\"Never\",", text);
  expect_event(&w, "Unhealthy", "Startup probe failed: not yet");
  expect_object(&w, POD_ARGS("p"), "\"started\":false");
  expect_calls("runtime.exec", NULL, 1);
  fclose(fopen(file, "w"));
  expect_event(&w, "Killing", "Container c failed liveness probe");
  expect_object(&w, POD_ARGS("p"), "\"phase\":\"Failed\"");
  finish(&w);
}

Test(probes, a_command_that_hangs_is_cut_off) {
  world_t w;
  begin(&w);
  probed(&w, "", "\"readinessProbe\":{\"exec\":{\"command\":[\"hang\",\"here\"]},\"periodSeconds\":1}");
  expect_event(&w, "Unhealthy", "Readiness probe failed: command \"hang here\" timed out");
  finish(&w);
}

Test(probes, the_initial_delay_is_kept) {
  world_t w;
  begin(&w);
  server_t *s = server_start(SERVE_HTTP);
  char text[256];
  snprintf(text, sizeof text,
           "\"readinessProbe\":{\"httpGet\":{\"host\":\"127.0.0.1\",\"port\":%d},\"initialDelaySeconds\":1}",
           server_port(s));
  probed(&w, "", text);
  expect_object(&w, POD_ARGS("p"), "\"phase\":\"Running\"");
  usleep(300000);
  cr_assert_eq(server_asked(s), 0);
  expect_object(&w, POD_ARGS("p"), "\"ready\":true");
  server_stop(s);
  finish(&w);
}
