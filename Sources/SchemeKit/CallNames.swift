import Platform
import SchemeProtocol
import SchemeTransport
import SystemPackage

/// The names in a request's payload, copied out of shared memory before they are checked.
struct CallNames {
    /// Room for two names or a path and a name.
    static let scratchBytes = 8192
    private let buffer: AlignedBuffer
    private let first: Range<Int>
    private let second: Range<Int>

    /// Copies the payload: one name, or with `firstBytes` two texts of which the first has that length.
    init(
        _ server: ChannelServer, _ request: IncomingRequest, _ scratch: AlignedBuffer, firstBytes: UInt64? = nil
    ) throws(Errno) {
        guard server.copyPayload(request, into: scratch) else { throw .fileNameTooLong }
        buffer = scratch
        if let firstBytes {
            guard let count = Untrusted(firstBytes).length(atMost: request.payloadByteCount) else {
                throw .invalidArgument
            }
            first = 0..<count
            second = count..<request.payloadByteCount
        } else {
            first = 0..<request.payloadByteCount
            second = first.upperBound..<first.upperBound
        }
    }

    /// The first text as the name of a directory entry.
    var name: RawSpan {
        @_lifetime(borrow self)
        get throws(Errno) {
            let span = unsafe _overrideLifetime(buffer.bytes(first), borrowing: self)
            try Self.check(span)
            return span
        }
    }

    /// The second text as the name of a directory entry.
    var secondName: RawSpan {
        @_lifetime(borrow self)
        get throws(Errno) {
            let span = unsafe _overrideLifetime(buffer.bytes(second), borrowing: self)
            try Self.check(span)
            return span
        }
    }

    /// The first text, not checked.
    var text: RawSpan {
        @_lifetime(borrow self)
        get { unsafe _overrideLifetime(buffer.bytes(first), borrowing: self) }
    }

    /// The second text, not checked.
    var secondText: RawSpan {
        @_lifetime(borrow self)
        get { unsafe _overrideLifetime(buffer.bytes(second), borrowing: self) }
    }

    private static func check(_ name: RawSpan) throws(Errno) {
        guard !name.isEmpty else { throw .noSuchFileOrDirectory }
        guard name.byteCount <= ProtocolLimits.maximumNameBytes else { throw .fileNameTooLong }
        for index in 0..<name.byteCount {
            let byte = unsafe name.unsafeLoad(fromByteOffset: index, as: UInt8.self)
            if byte == 0 || byte == 0x2f { throw .invalidArgument }
        }
    }
}
