#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "harness.h"

static struct {
  atomic_int got, order_wrong, other, fd_events;
  int fd;
} t;

static void heard(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  (void)ctx, (void)self;
  if (int_of(m, "n") != t.got) t.order_wrong++;
  t.got++;
}

static void heard_other(kg_ctx_t *ctx, void *self, const kg_msg_t *m) {
  (void)ctx, (void)self, (void)m;
  t.other++;
}

static int listen(kg_ctx_t *ctx, void *self, kg_error_t *err) {
  (void)self, (void)err;
  kg_subscribe(ctx, "news.");
  kg_subscribe(ctx, "news.sport"); /* one event is heard once */
  kg_ready(ctx);
  return 0;
}

static void publish(kg_ctx_t *ctx, void *self) {
  (void)self;
  for (int i = 0; i < 100; i++) {
    kg_doc_t *args = int_args("n", i);
    kg_publish(ctx, i % 2 ? "news.sport" : "news.art", args, NULL, 0);
    kg_publish(ctx, "weather.rain", NULL, NULL, 0);
    kg_doc_unref(args);
  }
}

static const kg_handler_t handlers[] = {{"news.*", heard}, {"*", heard_other}, {0}};

static void publish_to(const char *lane) {
  static const kg_plugin_t listener = DESCRIPTOR(.name = "listener", .role = "listener", .handlers = handlers,
                                                 .create = create_nothing, .start = listen);
  static const kg_plugin_t speaker = DESCRIPTOR(.name = "speaker", .role = "speaker", .activate = publish);
  kg_kernel_t *k = new_kernel();
  load(k, "listener", lane, &listener);
  load(k, "speaker", "main", &speaker);
  wait_until(&t.got, 100);
  kg_kernel_free(k);
  cr_assert_eq(t.got, 100);
  cr_assert_eq(t.order_wrong, 0);
  cr_assert_eq(t.other, 0);
}

Test(events, a_subscriber_hears_its_topics_once_and_in_order_in_one_lane) {
  publish_to("main");
}
Test(events, a_subscriber_hears_its_topics_once_and_in_order_across_lanes) {
  publish_to("other");
}

static void readable(kg_ctx_t *ctx, void *self, int fd, uint32_t events, void *arg) {
  (void)self, (void)arg;
  uint64_t n;
  cr_assert(events & EPOLLIN);
  cr_assert_eq(read(fd, &n, sizeof n), (ssize_t)sizeof n);
  if (++t.fd_events == 3) kg_fd_forget(ctx, fd);
}

static void watch(kg_ctx_t *ctx, void *self) {
  (void)self;
  kg_error_t err = {0};
  cr_assert_eq(kg_fd_watch(ctx, t.fd, EPOLLIN, readable, NULL, &err), 0, "%s", err.text);
}

Test(descriptors, wake_their_plugin_until_they_are_forgotten) {
  static const kg_plugin_t p = DESCRIPTOR(.name = "watcher", .role = "watcher", .activate = watch);
  uint64_t one = 1;
  t.fd = eventfd(0, EFD_NONBLOCK);
  kg_kernel_t *k = new_kernel();
  load(k, "watcher", "main", &p);
  for (int i = 1; i <= 3; i++) {
    cr_assert_eq(write(t.fd, &one, sizeof one), (ssize_t)sizeof one);
    wait_until(&t.fd_events, i);
  }
  cr_assert_eq(write(t.fd, &one, sizeof one), (ssize_t)sizeof one);
  usleep(20000);
  kg_kernel_free(k);
  cr_assert_eq(t.fd_events, 3);
  close(t.fd);
}

static int64_t lane_number(kg_kernel_t *k, const char *key) {
  kg_doc_t *doc = kg_kernel_list(k);
  int64_t n = kg_view_int(kg_view_get(kg_view_at(kg_view_get(kg_view_of(doc), "lanes"), 0), key), -1);
  kg_doc_unref(doc);
  return n;
}

Test(lanes, an_idle_lane_is_never_woken) {
  kg_kernel_t *k = new_kernel();
  load(k, "echo", "main", &echo_plugin);
  usleep(50000);
  int64_t before = lane_number(k, "sleeps");
  usleep(500000);
  cr_assert_eq(lane_number(k, "sleeps"), before);
  kg_kernel_free(k);
}
