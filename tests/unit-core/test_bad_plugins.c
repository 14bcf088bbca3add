#include "harness.h"

#include <stdlib.h>
#include <unistd.h>

/* Tries to put the bad plugin in the place of a good one, which must go on with the state it had. */
static void refused(const char *file, const char *sentence) {
  kg_kernel_t *k = new_kernel();
  kg_error_t err = {0};
  kg_plugin_spec_t spec = {.name = "hello", .file = "hello.so"};
  cr_assert_eq(kg_kernel_load(k, &spec, &err), 0, "%s", err.text);
  cr_assert_eq(kg_kernel_swap(k, "hello", file, NULL, NULL, &err), -1, "%s was accepted", file);
  cr_assert(strstr(err.text, sentence), "\"%s\" does not say \"%s\"", err.text, sentence);
  cr_assert(strstr(err.text, ": swap refused, hello (hello 0.1.0) goes on"), "%s", err.text);
  cr_assert_eq(kg_kernel_swap(k, "hello", "hello", NULL, NULL, &err), 0, "afterwards a good one is refused too: %s",
               err.text);
  kg_kernel_free(k);
}

/* Under the sanitizer a crash ends the process with a code, not by the signal. */
#ifdef SANITIZED
#define SEGV "ended its process"
#else
#define SEGV "died of signal 11 (Segmentation fault) while it was created"
#endif

Test(bad_plugins, one_that_crashes_on_create_never_reaches_the_kernel) {
  refused("crash-on-create.so", SEGV);
}
Test(bad_plugins, one_that_crashes_on_start_never_reaches_the_kernel) {
  refused("crash-on-start", "while it was started");
}
Test(bad_plugins, one_that_crashes_on_destroy_never_reaches_the_kernel) {
  refused("crash-on-destroy", "while it was destroyed");
}
Test(bad_plugins, one_that_hangs_is_given_up) {
  refused("hang-on-create", "hung while it was created");
}
Test(bad_plugins, one_that_hangs_in_start_is_given_up) {
  refused("hang-on-start", "hung while it was started");
}
Test(bad_plugins, one_that_hangs_in_destroy_is_given_up) {
  refused("hang-on-destroy", "hung while it was destroyed");
}
Test(bad_plugins, one_that_is_half_made_leaves_nothing) {
  refused("half-made", "it was not ready within 3000 ms");
}
Test(bad_plugins, one_that_leaks_is_refused) {
  refused("leaks", "leaks: each time it was created and destroyed at least");
}
Test(bad_plugins, one_of_another_interface_is_refused) {
  refused("wrong-abi", "built for plugin interface 77, this kernel has 1");
}
Test(bad_plugins, one_with_a_short_descriptor_is_refused) {
  refused("wrong-size", "bytes, not");
}
Test(bad_plugins, a_library_that_is_no_plugin_is_refused) {
  refused("no-descriptor", "does not export kogge_plugin");
}
Test(bad_plugins, one_that_refuses_to_start_is_refused) {
  refused("refuses-start", "I do not like it here");
}
Test(bad_plugins, one_that_is_never_ready_misses_its_deadline) {
  refused("never-ready", "it was not ready within 3000 ms");
}
Test(bad_plugins, one_that_refuses_the_state_is_rolled_back) {
  refused("refuses-state", "this state is of no use to me");
}
Test(bad_plugins, a_file_that_is_not_there_is_named) {
  refused("unicorn", "plugin unicorn was not found in");
}
Test(bad_plugins, a_text_file_is_no_plugin) {
  refused("/etc/passwd", "passwd cannot be loaded");
}

/* The name of a library it needs is written over. */
Test(bad_plugins, a_damaged_one_is_refused_in_words_that_can_be_read) {
  char path[] = "/tmp/kogge-damaged-XXXXXX", cmd[400];
  close(mkstemp(path));
  snprintf(cmd, sizeof cmd, "LC_ALL=C sed 's/libc\\.so\\.6/\\x93\\x01bc.so.6/' %s/plugins/hello.so >%s",
           KOGGE_BUILD_DIR, path);
  cr_assert_eq(system(cmd), 0);
  refused(path, "cannot be loaded: ??bc.so.6: cannot open shared object file");
  unlink(path);
}

Test(loading, leaves_no_private_copies_behind_and_survives_an_overwritten_file) {
  char dir[] = "/tmp/kogge-test-XXXXXX", path[100], cmd[400];
  kg_error_t err = {0};
  cr_assert(mkdtemp(dir));
  snprintf(path, sizeof path, "%s/mine.so", dir);
  snprintf(cmd, sizeof cmd, "cp %s/plugins/hello.so %s", KOGGE_BUILD_DIR, path);
  cr_assert_eq(system(cmd), 0);
  kg_kernel_t *k = new_kernel();
  kg_plugin_spec_t spec = {.name = "hello", .file = path};
  cr_assert_eq(kg_kernel_load(k, &spec, &err), 0, "%s", err.text);
  snprintf(cmd, sizeof cmd, "head -c 5000 /dev/zero > %s", path);
  cr_assert_eq(system(cmd), 0);
  cr_assert_eq(kg_kernel_reload(k, "hello", NULL, &err), -1);
  cr_assert(strstr(err.text, "mine.so cannot be loaded"), "%s", err.text);
  cr_assert_eq(kg_kernel_unload(k, "hello", &err), 0);
  kg_kernel_free(k);
  unlink(path);
  cr_assert_eq(rmdir(dir), 0);
}

Test(loading, a_failed_first_load_leaves_nothing) {
  kg_kernel_t *k = new_kernel();
  kg_error_t err = {0};
  cr_assert_eq(kg_kernel_load(k, &(kg_plugin_spec_t){.name = "x", .file = "refuses-start.so"}, &err), -1);
  cr_assert_str_eq(err.text, "plugin x was not loaded: I do not like it here");
  cr_assert_eq(kg_kernel_load(k, &(kg_plugin_spec_t){.name = "x", .file = "hello.so"}, &err), 0, "%s", err.text);
  cr_assert_eq(kg_kernel_load(k, &(kg_plugin_spec_t){.name = "x", .file = "hello.so"}, &err), -1);
  cr_assert_str_eq(err.text, "plugin x was not loaded: there is a plugin x already");
  kg_kernel_free(k);
}
