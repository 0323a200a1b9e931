/// A structure on disk breaks a rule of the format: which structure, which rule, where in its bytes, and the value
/// that was found there. A plain value: creating one allocates nothing.
public struct FormatError: Error, Hashable, Sendable {
    /// The kind of structure that was being decoded.
    public enum Structure: UInt8, Sendable, CaseIterable {
        case header, keySlot, tree, node, list, directoryList, hashTree, allocationLog, releaseList, record, name
        case nodeExtension, headerExtension, attributeTable, address
    }

    /// The rule that is broken.
    public enum Problem: UInt8, Sendable, CaseIterable {
        /// Fewer bytes than the structure has.
        case tooShort
        /// The signature or magic number is another one.
        case signature
        /// A version that is not known.
        case version
        /// The hash over the bytes is another than the stored one.
        case hash
        /// An address or a run of blocks lies outside the file system.
        case outOfRange
        /// A length or count contradicts the structure's size or contents.
        case length
        /// A name that the format does not allow.
        case name
        /// A field has a value that the format does not allow.
        case value
        /// Entries are out of order.
        case order
        /// A file position or record number beyond what the lists can reach.
        case tooLarge
    }

    /// The kind of structure.
    public var structure: Structure
    /// The rule.
    public var problem: Problem
    /// Byte offset of the field inside the structure.
    public var offset: Int
    /// What was found, as a number.
    public var value: UInt64

    /// An error with all its parts.
    @inlinable
    public init(_ structure: Structure, _ problem: Problem, at offset: Int = 0, value: UInt64 = 0) {
        self.structure = structure
        self.problem = problem
        self.offset = offset
        self.value = value
    }

    /// Makes sure that a span has at least the bytes of one block.
    @inlinable
    public static func checkBlock(_ bytes: RawSpan, _ structure: Structure) throws(FormatError) {
        guard bytes.byteCount >= Limits.blockSize else {
            throw FormatError(structure, .tooShort, value: UInt64(truncatingIfNeeded: bytes.byteCount))
        }
    }
}

extension FormatError: CustomStringConvertible {
    /// What is wrong and where, for a person.
    public var description: String {
        "\(structure.words): \(problem.words) at byte \(offset) (found \(value), 0x\(String(value, radix: 16)))"
    }
}

extension FormatError.Structure {
    fileprivate var words: String {
        switch self {
        case .header: "header"
        case .keySlot: "key slot"
        case .tree: "tree block"
        case .node: "node"
        case .list: "list of records"
        case .directoryList: "directory list"
        case .hashTree: "hash-tree block"
        case .allocationLog: "allocation log"
        case .releaseList: "release list"
        case .record: "record"
        case .name: "name"
        case .nodeExtension: "node extension"
        case .headerExtension: "header extension"
        case .attributeTable: "attribute table"
        case .address: "address"
        }
    }
}

extension FormatError.Problem {
    fileprivate var words: String {
        switch self {
        case .tooShort: "too short"
        case .signature: "wrong signature"
        case .version: "unknown version"
        case .hash: "wrong hash"
        case .outOfRange: "value out of range"
        case .length: "wrong length"
        case .name: "name that is not allowed"
        case .value: "value that is not allowed"
        case .order: "wrong order"
        case .tooLarge: "too large"
        }
    }
}
