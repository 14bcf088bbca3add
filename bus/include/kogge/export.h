#ifndef KOGGE_EXPORT_H
#define KOGGE_EXPORT_H

/* Everything is built with -fvisibility=hidden; only what carries KG_PUBLIC can be seen by a plugin. */
#define KG_PUBLIC __attribute__((visibility("default")))
#define KG_PRINTF(fmt, first) __attribute__((format(printf, fmt, first)))
#define KG_NODISCARD __attribute__((warn_unused_result))

#endif
