//! Names of error numbers that a case may expect, with their numbers on Linux (generic ABI).

/// Errors that memory hotplug and its files can give.
const NAMES: [(&str, i32); 18] = [
    ("EPERM", 1),
    ("ENOENT", 2),
    ("EINTR", 4),
    ("EIO", 5),
    ("ENXIO", 6),
    ("EAGAIN", 11),
    ("ENOMEM", 12),
    ("EACCES", 13),
    ("EFAULT", 14),
    ("EBUSY", 16),
    ("EEXIST", 17),
    ("ENODEV", 19),
    ("EINVAL", 22),
    ("ENOSPC", 28),
    ("ERANGE", 34),
    ("ENOSYS", 38),
    ("EOPNOTSUPP", 95),
    ("EHWPOISON", 133),
];

/// Number of an error by its name.
pub fn number(name: &str) -> Option<i32> {
    NAMES.iter().find(|(n, _)| *n == name).map(|(_, number)| *number)
}

/// Name of an error by its number; `None` for one that no case expects.
pub fn name(number: i32) -> Option<&'static str> {
    NAMES.iter().find(|(_, n)| *n == number).map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    #[test]
    fn both_ways() {
        assert_eq!(super::number("EBUSY"), Some(16));
        assert_eq!(super::name(133), Some("EHWPOISON"));
        assert_eq!((super::number("EFOO"), super::name(9999)), (None, None));
    }
}
