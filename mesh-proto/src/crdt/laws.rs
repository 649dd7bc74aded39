//! The laws that every type keeps: merging is commutative, associative and idempotent, and never loses what both knew.
