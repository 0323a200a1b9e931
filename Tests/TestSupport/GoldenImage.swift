import BlockDevice
import DiskFormat
import Glibc
import Platform
import SystemPackage

/// An image that the reference implementation made, with its manifest.
public enum GoldenImage: String, CaseIterable, Sendable, CustomStringConvertible {
    /// Fresh file system.
    case empty = "a-empty"
    /// All sizes, names, links, modes.
    case smallTree = "b-smalltree"
    /// 20,000 entries in a directory, colliding name hashes.
    case bigDirectory = "c-bigdir"
    /// Files to 40 TB.
    case sparse = "d-sparse"
    /// Encrypted; `password` opens it.
    case encrypted = "e-encrypted"
    /// 5,000 random operations, leaked blocks.
    case churn = "f-churn"
    /// Stale bytes behind the end of shrunken files.
    case truncateResidue = "f3-truncate-residue"
    /// 25 reserved blocks in front.
    case reserved = "g-reserved"
    /// Made by the archiver.
    case archived = "h-ar"
    /// Killed while writing.
    case unclean = "i-unclean"
    /// 21 blocks free.
    case full = "j-full"

    /// The password of the encrypted image.
    public static let password: [UInt8] = Array("password".utf8)

    /// The password, if this image needs one.
    public var password: [UInt8]? { self == .encrypted ? Self.password : nil }

    /// The folder of the fixtures: beside the one that holds this file.
    public static let folder: String = {
        let here = FilePath(#filePath)
        return here.removingLastComponent().removingLastComponent().string + "/Fixtures/golden"
    }()

    /// All bytes of the image.
    public func bytes() throws -> [UInt8] {
        let packed = try Self.file("\(rawValue).img.zst")
        return try Zstandard.unpack(packed, reserving: self == .bigDirectory ? 128 << 20 : 32 << 20)
    }

    /// A device in memory that holds a copy of the image.
    public func device(isWritable: Bool = true) throws -> MemoryDevice {
        MemoryDevice(contents: try bytes(), isWritable: isWritable)
    }

    /// Writes the image into a file; zeros become holes.
    public func write(to path: String) throws {
        let bytes = try bytes()
        let file = try SystemCall.open(path, O_WRONLY | O_CREAT | O_TRUNC, mode: 0o600)
        try SystemCall.truncate(file.rawValue, to: UInt64(bytes.count))
        let piece = 64 << 10
        for start in stride(from: 0, to: bytes.count, by: piece) {
            let part = bytes.rawBytes.extracting(start..<min(start + piece, bytes.count))
            if part.isAllZero() { continue }
            var written = 0
            while written < part.byteCount {
                let rest = part.extracting(written..<part.byteCount)
                written += try SystemCall.write(file.rawValue, at: UInt64(start + written), rest)
            }
        }
    }

    /// What the image holds.
    public func manifest() throws -> GoldenManifest {
        let isPacked = self == .bigDirectory
        let text =
            isPacked
            ? try Zstandard.unpack(try Self.file("\(rawValue).json.zst")) : try Self.file("\(rawValue).json")
        return try GoldenManifest(JSONValue(parsing: text))
    }

    /// A file of the folder.
    public static func file(_ name: String) throws -> [UInt8] {
        let file = try SystemCall.open("\(folder)/\(name)", O_RDONLY)
        return try SystemCall.readToEnd(file.rawValue, limit: 1 << 30)
    }
}

extension GoldenImage {
    /// The name of the file without its suffix.
    public var description: String { rawValue }
}
