/* hooks.h - put before each C file of the core that is explored: every atomic access asks first.
 *
 * The files are those that ship, not changed by a letter.  <stdatomic.h> defines the accesses as
 * macros; these take their place.  An access to memory that is not of a slot is made at once.
 */
#ifndef VERIFY_HOOKS_H
#define VERIFY_HOOKS_H

#include <stdatomic.h>
#include <stdint.h>

enum vf_rmw { VF_ADD, VF_SUB, VF_AND, VF_OR, VF_EXCHANGE };

uint64_t vf_load(const volatile void *at, int size, int order);
void vf_store(volatile void *at, int size, uint64_t value, int order);
uint64_t vf_rmw(volatile void *at, int size, enum vf_rmw how, uint64_t value, int order);
int vf_cas(volatile void *at, int size, void *expected, uint64_t next, int weak, int order,
           int otherwise);
void vf_fence(int order);

#undef atomic_load_explicit
#undef atomic_store_explicit
#undef atomic_exchange_explicit
#undef atomic_fetch_add_explicit
#undef atomic_fetch_sub_explicit
#undef atomic_fetch_and_explicit
#undef atomic_fetch_or_explicit
#undef atomic_compare_exchange_weak_explicit
#undef atomic_compare_exchange_strong_explicit
#undef atomic_load
#undef atomic_store
#undef atomic_exchange
#undef atomic_fetch_add
#undef atomic_fetch_sub
#undef atomic_fetch_and
#undef atomic_fetch_or
#undef atomic_compare_exchange_weak
#undef atomic_compare_exchange_strong
#undef atomic_thread_fence
#undef atomic_signal_fence

/* The comma takes the qualifiers away, _Atomic among them. */
#define VF_VALUE(p) __typeof__((void)0, *(p))
#define VF_RMW(p, how, v, o)                                                                       \
    __extension__({                                                                                \
        __auto_type vf_p = (p);                                                                    \
        (VF_VALUE(vf_p)) vf_rmw(vf_p, sizeof *vf_p, how, (uint64_t)(v), o);                        \
    })
#define VF_CAS(p, e, v, weak, o, f)                                                                \
    __extension__({                                                                                \
        __auto_type vf_p = (p);                                                                    \
        vf_cas(vf_p, sizeof *vf_p, e, (uint64_t)(v), weak, o, f);                                  \
    })

#define atomic_load_explicit(p, o)                                                                 \
    __extension__({                                                                                \
        __auto_type vf_p = (p);                                                                    \
        (VF_VALUE(vf_p)) vf_load(vf_p, sizeof *vf_p, o);                                           \
    })
#define atomic_store_explicit(p, v, o)                                                             \
    __extension__({                                                                                \
        __auto_type vf_p = (p);                                                                    \
        vf_store(vf_p, sizeof *vf_p, (uint64_t)(v), o);                                            \
    })
#define atomic_exchange_explicit(p, v, o) VF_RMW(p, VF_EXCHANGE, v, o)
#define atomic_fetch_add_explicit(p, v, o) VF_RMW(p, VF_ADD, v, o)
#define atomic_fetch_sub_explicit(p, v, o) VF_RMW(p, VF_SUB, v, o)
#define atomic_fetch_and_explicit(p, v, o) VF_RMW(p, VF_AND, v, o)
#define atomic_fetch_or_explicit(p, v, o) VF_RMW(p, VF_OR, v, o)
#define atomic_compare_exchange_weak_explicit(p, e, v, o, f) VF_CAS(p, e, v, 1, o, f)
#define atomic_compare_exchange_strong_explicit(p, e, v, o, f) VF_CAS(p, e, v, 0, o, f)
#define atomic_load(p) atomic_load_explicit(p, memory_order_seq_cst)
#define atomic_store(p, v) atomic_store_explicit(p, v, memory_order_seq_cst)
#define atomic_exchange(p, v) VF_RMW(p, VF_EXCHANGE, v, memory_order_seq_cst)
#define atomic_fetch_add(p, v) VF_RMW(p, VF_ADD, v, memory_order_seq_cst)
#define atomic_fetch_sub(p, v) VF_RMW(p, VF_SUB, v, memory_order_seq_cst)
#define atomic_fetch_and(p, v) VF_RMW(p, VF_AND, v, memory_order_seq_cst)
#define atomic_fetch_or(p, v) VF_RMW(p, VF_OR, v, memory_order_seq_cst)
#define atomic_compare_exchange_weak(p, e, v)                                                      \
    VF_CAS(p, e, v, 1, memory_order_seq_cst, memory_order_seq_cst)
#define atomic_compare_exchange_strong(p, e, v)                                                    \
    VF_CAS(p, e, v, 0, memory_order_seq_cst, memory_order_seq_cst)
#define atomic_thread_fence(o) vf_fence(o)
#define atomic_signal_fence(o) __atomic_signal_fence(o)

#endif
