/* The format of recordings: what is written is read again, what is cut off is used as far as it goes, the rest refused.
 */
#include <stdlib.h>

#include "harness.h"
#include "recording.h"

static struct {
  uint8_t data[65536];
  size_t size, ends[8]; /* of each frame */
} f;

static void add(uint8_t *frame, size_t size, int n) {
  memcpy(f.data + f.size, frame, size);
  f.size += size;
  f.ends[n] = f.size;
  free(frame);
}

static uint64_t ids[] = {0, (1ull << 40) + 7, (1ull << 40) + 7, (1ull << 40) + 7, 7};

static kg_doc_t *envelope(int version, const char *topic, uint64_t id) {
  kg_pack_t p = kg_pack();
  kg_pack_array(&p);
  kg_pack_int(&p, version);
  kg_pack_int(&p, KG_MSG_REQUEST);
  kg_pack_str(&p, topic);
  kg_pack_str(&p, "asker");
  kg_pack_str(&p, "echo");
  kg_pack_uint(&p, id);
  for (int i = 0; i < 3; i++) kg_pack_int(&p, 0);
  kg_pack_str(&p, "");
  kg_pack_int(&p, 0);
  kg_pack_end(&p);
  return kg_pack_doc(&p);
}

static void add_message(int n, int version, const char *topic) {
  uint8_t *frame;
  size_t size;
  kg_doc_t *e = envelope(version, topic, ids[n]), *args = int_args("n", n);
  kg_pack_t p = kg_pack();
  kg_pack_array(&p);
  kg_pack_bin(&p, kg_doc_data(args), kg_doc_size(args));
  kg_pack_end(&p);
  kg_doc_t *docs = kg_pack_doc(&p);
  cr_assert_eq(
      kg_recording_message(1000 + n, KG_STR("echo"), kg_view_of(e), kg_view_of(args), kg_view_of(docs), &frame, &size),
      0);
  add(frame, size, n);
  kg_doc_unref(e);
  kg_doc_unref(args);
  kg_doc_unref(docs);
}

static void make(void) {
  uint8_t *frame;
  size_t size;
  f.size = 0;
  cr_assert_eq(kg_recording_begin(1000, &frame, &size), 0);
  add(frame, size, 0);
  for (int i = 1; i <= 3; i++) add_message(i, 1, "echo.say");
}

static int check(void *arg, const kg_recorded_t *r) {
  int n = ++*(int *)arg;
  cr_assert_eq(r->time_us, 1000 + n);
  cr_assert_str_eq(r->to, "echo");
  cr_assert_str_eq(kg_msg_topic(r->m), "echo.say");
  cr_assert_eq(kg_msg_id(r->m), (1ull << 40) + 7);
  cr_assert_eq(int_of(r->m, "n"), n);
  cr_assert_eq(kg_view_int(kg_view_get(kg_view_of(kg_msg_doc(r->m, 0)), "n"), 0), n);
  return 0;
}

Test(recording, comes_back_as_it_was_written) {
  kg_recording_t sum;
  kg_error_t err = {0};
  int n = 0;
  make();
  cr_assert_eq(kg_recording_read(f.data, f.size, check, &n, &sum, &err), 0, "%s", err.text);
  cr_assert_eq(n, 3);
  cr_assert_eq(sum.messages, 3);
  cr_assert_eq(sum.cut, 0);
}

Test(recording, that_was_cut_off_anywhere_is_used_as_far_as_it_is_whole) {
  make();
  for (size_t size = f.ends[0]; size < f.size; size++) {
    kg_recording_t sum;
    kg_error_t err = {0};
    int n = 0, whole = 0;
    while (f.ends[whole + 1] <= size) whole++;
    cr_assert_eq(kg_recording_read(f.data, size, check, &n, &sum, &err), 0, "%zu bytes: %s", size, err.text);
    cr_assert_eq(n, whole);
    cr_assert_eq(sum.whole, f.ends[whole]);
    cr_assert_eq(sum.cut, size - f.ends[whole]);
  }
}

Test(recording, with_a_torn_last_write_or_unwritten_space_counts_as_cut_off) {
  kg_recording_t sum;
  kg_error_t err = {0};
  make();
  f.data[f.size - 1] ^= 1;
  cr_assert_eq(kg_recording_read(f.data, f.size, NULL, NULL, &sum, &err), 0, "%s", err.text);
  cr_assert_eq(sum.messages, 2);
  make();
  memset(f.data + f.ends[2], 0, f.size - f.ends[2] + 4096);
  cr_assert_eq(kg_recording_read(f.data, f.size + 4096, NULL, NULL, &sum, &err), 0, "%s", err.text);
  cr_assert_eq(sum.messages, 2);
}

static void refused(const char *sentence) {
  kg_error_t err = {0};
  cr_assert_eq(kg_recording_read(f.data, f.size, NULL, NULL, NULL, &err), -1);
  cr_assert(strstr(err.text, sentence), "\"%s\" does not say \"%s\"", err.text, sentence);
}

Test(recording, that_breaks_the_rules_is_refused_with_the_place) {
  char place[64];
  make();
  f.data[f.ends[1] + 20] ^= 1;
  snprintf(place, sizeof place, "at byte %zu: the frame's checksum is wrong", f.ends[1]);
  refused(place);
  make();
  memset(f.data + f.ends[1], 0xff, 4);
  refused("a frame of 4294967295 bytes is not allowed");
  make();
  add_message(4, 2, "echo.say");
  refused("version 2 is not spoken here");
  make();
  add_message(4, 1, "Echo say");
  refused("topic 'Echo say' is malformed");
  memset(f.data, 'x', f.size = 100);
  refused("at byte 0");
  f.size = 0;
  refused("at byte 0: there is no beginning of a recording");
}

static kg_doc_t *replayed(kg_error_t *err) {
  return kg_replay(&(kg_replay_spec_t){.data = f.data,
                                       .size = f.size,
                                       .file = KOGGE_BUILD_DIR "/tests/plugins/unruly.so",
                                       .trial_command = KOGGE_BUILD_DIR "/kogge"},
                   err);
}

Test(recording, with_an_id_used_thrice_or_one_that_no_kernel_gives_harms_no_replay) {
  kg_error_t err = {0};
  make();
  kg_doc_t *report = replayed(&err);
  cr_assert(report, "%s", err.text);
  cr_assert_eq(kg_view_int(kg_view_get(kg_view_of(report), "messages"), 0), 3);
  cr_assert_eq(kg_view_int(kg_view_get(kg_view_of(report), "skipped"), 0), 2);
  kg_doc_unref(report);
  add_message(4, 1, "echo.say");
  cr_assert_not(replayed(&err));
  cr_assert(strstr(err.text, "an id that no kernel gives"), "%s", err.text);
}
