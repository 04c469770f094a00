//! Which file system a directory lies on, and whether an acknowledged write to it survives a power cut.
//!
//! Told by the magic number of statfs. What is not on the list of local file systems is not trusted: tmpfs takes O_DIRECT
//! and RWF_DSYNC without a word, and keeps nothing.

use std::fmt;

macro_rules! file_systems {
    ($($variant:ident $name:literal $kind:ident $($magic:literal)|+;)*) => {
        /// A file system, by the magic number that statfs gives.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum FileSystem {
            $(#[doc = $name] $variant,)*
            /// One that is not on the list.
            Other(u32),
        }

        impl FileSystem {
            pub(crate) fn of_magic(magic: u32) -> FileSystem {
                match magic {
                    $($($magic)|+ => FileSystem::$variant,)*
                    other => FileSystem::Other(other),
                }
            }

            fn kind(self) -> Kind {
                match self {
                    $(FileSystem::$variant => Kind::$kind,)*
                    FileSystem::Other(_) => Kind::Unknown,
                }
            }
        }

        impl fmt::Display for FileSystem {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(FileSystem::$variant => f.write_str($name),)*
                    FileSystem::Other(magic) => write!(f, "a file system of unknown kind (magic {magic:#x})"),
                }
            }
        }
    };
}

file_systems! {
    Ext "ext4" Local 0xEF53;
    Xfs "XFS" Local 0x5846_5342;
    Btrfs "Btrfs" Local 0x9123_683E;
    F2fs "F2FS" Local 0xF2F5_2010;
    Zfs "ZFS" Local 0x2FC1_2FC1;
    Bcachefs "bcachefs" Local 0xCA45_1A4E;
    Tmpfs "tmpfs" Memory 0x0102_1994;
    Ramfs "ramfs" Memory 0x8584_58F6;
    Hugetlbfs "hugetlbfs" Memory 0x9584_58F6;
    Nfs "NFS" Network 0x6969;
    Cifs "CIFS/SMB" Network 0xFF53_4D42 | 0xFE53_4D42 | 0x517B;
    NineP "9p" Network 0x0102_1997;
    Ceph "Ceph" Network 0x00C3_6400;
    Gfs2 "GFS2" Network 0x0116_1970;
    Afs "AFS" Network 0x5346_414F | 0x6B41_4653;
    Vboxsf "a VirtualBox shared folder" Network 0x786F_4256;
    Fuse "FUSE" User 0x6573_5546;
    Overlay "overlayfs" Overlay 0x794C_7630;
    Ecryptfs "eCryptfs" Overlay 0xF15F;
    Squashfs "SquashFS" Fixed 0x7371_7368;
    Fat "FAT" Unjournaled 0x4D44;
    ExFat "exFAT" Unjournaled 0x2011_BAB0;
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Local,
    Memory,
    Network,
    User,
    Overlay,
    Fixed,
    Unjournaled,
    Unknown,
}

impl FileSystem {
    /// Whether an acknowledged durable write survives a power cut on it.
    pub fn is_durable(self) -> bool {
        self.kind() == Kind::Local
    }

    /// What keeps it from being durable, as the end of a sentence that begins with its name.
    pub(crate) fn objection(self) -> &'static str {
        match self.kind() {
            Kind::Local => "is local and durable",
            Kind::Memory => "keeps its files in memory only",
            Kind::Network => "hands its writes to another machine, which may acknowledge before they are stable",
            Kind::User => "hands its writes to a program, which may acknowledge before they are stable",
            Kind::Overlay => "is a layer over another file system and need not pass flushes and direct writes on",
            Kind::Fixed => "is read-only",
            Kind::Unjournaled => "has no journal, so a power cut may lose whole files",
            Kind::Unknown => "is not one that direct, durable writes are known to work on",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_file_systems_are_durable_and_others_say_why_not() {
        assert!(FileSystem::of_magic(0xEF53).is_durable());
        for magic in [0x0102_1994, 0x8584_58F6, 0x6969, 0xFF53_4D42, 0x6573_5546, 0x0102_1997, 0x794C_7630, 1] {
            let file_system = FileSystem::of_magic(magic);
            assert!(!file_system.is_durable(), "{file_system}");
            assert_ne!(file_system.objection(), FileSystem::Ext.objection(), "{file_system}");
        }
    }
}
