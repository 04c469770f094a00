//! A disk in user space with a volatile write cache whose power can be cut. For tests.
