/// What can go wrong in a cipher or a key derivation, apart from a wrong password.
public enum CodecError: Error, Hashable, Sendable {
    /// The bytes are not whole blocks, or two spans differ in length.
    case length(Int)
    /// The cipher library refused, with its error code: keys that it doesn't allow, or no memory.
    case cipher(code: UInt)
    /// The key derivation refused, with its error code: no memory, or a password longer than 4 GiB.
    case keyDerivation(code: Int32)
    /// All 64 key slots are taken.
    case noFreeSlot
}

extension CodecError: CustomStringConvertible {
    /// What went wrong, for a person.
    public var description: String {
        switch self {
        case .length(let count): "a cipher works on whole blocks of 4096 bytes, not on \(count) bytes"
        case .cipher(let code): "the cipher library failed with code \(code)"
        case .keyDerivation(let code): "the key derivation failed with code \(code)"
        case .noFreeSlot: "all 64 key slots are taken"
        }
    }
}
