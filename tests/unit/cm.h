/* cm.h - cmocka with what it wants included before it. */
#ifndef PEAL_TESTS_CM_H
#define PEAL_TESTS_CM_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#endif
