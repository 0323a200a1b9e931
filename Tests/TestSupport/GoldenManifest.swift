/// What a golden image holds, as an independent reader found it.
public struct GoldenManifest: Sendable {
    /// The current header and the allocation log.
    public struct Header: Sendable {
        /// Block of the disk where the file system begins.
        public let block: UInt64
        /// Version of the format.
        public let version: UInt64
        /// UUID, 32 hexadecimal digits.
        public let uuid: String
        /// Size of the file system in bytes.
        public let size: UInt64
        /// Current generation.
        public let generation: UInt64
        /// Whether it is encrypted.
        public let encrypted: Bool
        /// Free blocks according to the log.
        public let freeBlocks: UInt64
        /// Blocks of the allocation log.
        public let allocLogBlocks: Int
        /// Entries of the allocation log.
        public let allocLogEntries: Int
        /// Blocks of the release list.
        public let releaseBlocks: Int
        /// Nodes on the release list.
        public let releaseNodes: [UInt32]
        /// Tree blocks per level, from the lowest.
        public let treeListBlocks: [Int]
        /// Nodes in the tree.
        public let nodes: Int

        init(_ value: JSONValue) throws {
            block = try value.whole("block")
            version = try value.whole("version")
            uuid = try value.text("uuid")
            size = try value.whole("size")
            generation = try value.whole("generation")
            encrypted = try value.member("encrypted") == .bool(true)
            freeBlocks = try value.whole("free_blocks")
            allocLogBlocks = try value.whole("alloc_log_blocks")
            allocLogEntries = try value.whole("alloc_log_entries")
            releaseBlocks = try value.whole("release_blocks")
            releaseNodes = try value.wholes("release_nodes")
            treeListBlocks = try value.wholes("tree_list_blocks")
            nodes = try value.whole("nodes")
        }
    }

    /// What a correct check finds.
    public struct Check: Sendable {
        /// Blocks in use, without the header ring and block 256.
        public let usedBlocks: UInt64
        /// Free blocks.
        public let freeBlocks: UInt64
        /// Blocks neither used nor free, block 256 among them.
        public let leakedBlocks: UInt64
        /// The first of the leaked ones.
        public let firstLeaked: [UInt64]
        /// Blocks both used and free.
        public let usedAndFree: UInt64
        /// Oddities, as text.
        public let errors: [String]

        init(_ value: JSONValue) throws {
            usedBlocks = try value.whole("used_blocks")
            freeBlocks = try value.whole("free_blocks")
            leakedBlocks = try value.whole("leaked_blocks")
            firstLeaked = try value.wholes("first_leaked")
            usedAndFree = try value.whole("used_and_free")
            errors = try value.member("errors").array?.compactMap(\.string) ?? []
        }
    }

    /// The image file.
    public struct Image: Sendable {
        /// Name of the file.
        public let file: String
        /// Size in bytes.
        public let bytes: UInt64
        /// SHA-256 of the whole file.
        public let sha256: String

        init(_ value: JSONValue) throws {
            file = try value.text("file")
            bytes = try value.whole("bytes")
            sha256 = try value.text("sha256")
        }
    }

    /// Part of a sparse file; everything outside the parts is zero.
    public struct Segment: Sendable {
        /// Where it begins.
        public let offset: UInt64
        /// Its length in bytes.
        public let length: Int
        /// SHA-256 of its bytes.
        public let sha256: String

        init(_ value: JSONValue) throws {
            offset = try value.whole("offset")
            length = try value.whole("length")
            sha256 = try value.text("sha256")
        }
    }

    /// A name and the node it leads to.
    public struct Entry: Sendable {
        /// Absolute path.
        public let path: String
        /// "file", "dir" or "symlink".
        public let type: String
        /// Permissions in octal.
        public let mode: String
        /// Owner.
        public let uid: UInt32
        /// Group.
        public let gid: UInt32
        /// Links as stored.
        public let nlink: UInt32
        /// Size in bytes.
        public let size: UInt64
        /// Seconds of the last change of the content.
        public let mtime: Int64
        /// Nanoseconds of it.
        public let mtimeNanoseconds: UInt32
        /// Seconds of the creation time.
        public let ctime: Int64
        /// Nanoseconds of it.
        public let ctimeNanoseconds: UInt32
        /// Seconds of the last read.
        public let atime: Int64
        /// Nanoseconds of it.
        public let atimeNanoseconds: UInt32
        /// SHA-256 of a file's content; nil for sparse files that are too large and for other types.
        public let sha256: String?
        /// Target of a symbolic link.
        public let target: String?
        /// Node number.
        public let node: UInt32
        /// Blocks as stored.
        public let blocks: UInt64
        /// Flags as stored.
        public let flags: UInt32
        /// Record level as stored.
        public let recordLevel: UInt32

        init(_ value: JSONValue) throws {
            path = try value.text("path")
            type = try value.text("type")
            mode = try value.text("mode")
            uid = try value.whole("uid")
            gid = try value.whole("gid")
            nlink = try value.whole("nlink")
            size = try value.whole("size")
            mtime = try value.whole("mtime")
            mtimeNanoseconds = try value.whole("mtime_nsec")
            ctime = try value.whole("ctime")
            ctimeNanoseconds = try value.whole("ctime_nsec")
            atime = try value.whole("atime")
            atimeNanoseconds = try value.whole("atime_nsec")
            sha256 = value["sha256"]?.string
            target = value["target"]?.string
            node = try value.whole("x_node")
            blocks = try value.whole("x_blocks")
            flags = try value.whole("x_flags")
            recordLevel = try value.whole("x_record_level")
        }
    }

    /// The current header and the allocation log.
    public let header: Header
    /// What a correct check finds.
    public let check: Check
    /// The image file.
    public let image: Image
    /// All names, the root first.
    public let entries: [Entry]
    /// Parts of sparse files by path, where the manifest lists them.
    public let segments: [String: [Segment]]?
    /// Pairs of names with the same hash, "name name hash", where the manifest lists them.
    public let collidingNames: [String]?

    /// Reads a manifest.
    public init(_ value: JSONValue) throws {
        header = try Header(try value.member("header"))
        check = try Check(try value.member("check"))
        image = try Image(try value.member("image"))
        entries = try (value.member("entries").array ?? []).map { try Entry($0) }
        segments = try value["segments"]?.object?.mapValues { try ($0.array ?? []).map { try Segment($0) } }
        collidingNames = value["colliding_names"]?.array?.compactMap(\.string)
    }
}
