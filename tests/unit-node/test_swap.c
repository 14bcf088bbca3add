/* The runtime under the agent is replaced while pods run: by its like, or by one that knows nothing of them. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fake.h"
#include "world.h"

static void replace_runtime(world_t *w, bool by_another_kind) {
  kg_error_t err = {0};
  if (by_another_kind) fake_forget();
  cr_assert(kg_kernel_swap(driver_kernel(w->d), "runtime", NULL, &fake_runtime, NULL, &err) == 0, "%s", err.text);
}

/* The condition Ready of the node, or an empty text. */
static void node_ready(world_t *w, char out[32]) {
  kg_doc_t *node = get_object(w, "{\"g\":\"\",\"v\":\"v1\",\"r\":\"nodes\",\"name\":\"n1\"}");
  kg_str_t s = kg_view_str(kg_view_get(condition(kg_view_of(node), "Ready"), "status"));
  snprintf(out, 32, KG_STR_FMT, KG_STR_ARG(s));
  kg_doc_unref(node);
}

Test(swap, its_like_leaves_pods_and_node_as_they_are) {
  world_t w;
  char ready[32] = "";
  begin(&w);
  create_pod(&w, "p", "\"containers\":[" CONTAINER("c", "\"run\"") "]");
  expect_object(&w, POD_ARGS("p"), "\"phase\":\"Running\"");
  for (int i = 0; i < 100 && strcmp(ready, "True") != 0; i++, usleep(20000)) node_ready(&w, ready);
  for (int i = 0; i < 20; i++) {
    replace_runtime(&w, false);
    usleep(20000);
    node_ready(&w, ready);
    cr_assert_str_eq(ready, "True", "after swap %d", i);
  }
  expect_object(&w, POD_ARGS("p"), "\"restartCount\":0");
  cr_assert_eq(fake_calls("runtime.container.create", NULL), 1);
  cr_assert_eq(fake_calls("runtime.sandbox.run", NULL), 1);
  finish(&w);
}

Test(swap, what_ended_with_the_runtime_runs_at_once_again) {
  world_t w;
  begin(&w);
  create_pod(&w, "p", "\"containers\":[" CONTAINER("c", "\"run\"") "]");
  expect_object(&w, POD_ARGS("p"), "\"phase\":\"Running\"");
  for (int i = 1; i <= 4; i++) { /* a crash back-off would be at 20 s by then */
    char part[16];
    replace_runtime(&w, true);
    snprintf(part, sizeof part, "-c-%d", i);
    expect_calls("runtime.container.start", part, 1);
  }
  expect_object(&w, POD_ARGS("p"), "\"restartCount\":4");
  expect_object(&w, POD_ARGS("p"), "\"reason\":\"ContainerStatusUnknown\"");
  expect_event(&w, "SandboxChanged", "Pod sandbox changed");
  finish(&w);
}

Test(swap, a_crash_loop_is_still_one) {
  world_t w;
  begin(&w);
  create_pod(&w, "p", "\"containers\":[" CONTAINER("c", "\"exit\",\"1\"") "]");
  expect_object(&w, POD_ARGS("p"), "CrashLoopBackOff");
  int made = fake_calls("runtime.container.create", NULL);
  replace_runtime(&w, true);
  expect_calls("runtime.sandbox.run", NULL, 2);
  usleep(300000);
  expect_object(&w, POD_ARGS("p"), "CrashLoopBackOff");
  cr_assert_eq(fake_calls("runtime.container.create", NULL), made);
  finish(&w);
}

Test(swap, what_never_restarts_has_failed) {
  world_t w;
  begin(&w);
  create_pod(&w, "p", "\"restartPolicy\":\"Never\",\"containers\":[" CONTAINER("c", "\"run\"") "]");
  expect_object(&w, POD_ARGS("p"), "\"phase\":\"Running\"");
  replace_runtime(&w, true);
  expect_object(&w, POD_ARGS("p"), "\"phase\":\"Failed\"");
  cr_assert_eq(fake_calls("runtime.sandbox.run", NULL), 1, "it needs none any more");
  finish(&w);
}
