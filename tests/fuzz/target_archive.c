/* Archives. The first byte chooses: a layer to be unpacked, or a whole archive to be imported. */
#include "store.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const char any[] = "sha256:0000000000000000000000000000000000000000000000000000000000000000";
  fuzz_in_t in = {data, data + size};
  job_t j = fuzz_job();
  char path[128];
  int64_t bytes;
  bool whole = fuzz_byte(&in) & 1;
  snprintf(path, sizeof path, "%s/in", fuzz_base);
  fuzz_write(path, (kg_str_t){(const char *)in.p, (size_t)(in.end - in.p)});
  j.path = path;
  int rc = whole ? import_archive(&j, &j.err) : unpack_layer(&j, path, kg_str(any), &bytes, &j.err);
  FUZZ_MUST(whole || rc < 0); /* nothing has that digest */
  fuzz_job_end(&j, rc, 2);
  return 0;
}
