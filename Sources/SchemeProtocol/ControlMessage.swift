/// What a control message says. Control messages travel over Unix sockets (SOCK_SEQPACKET), with descriptors; there is one
/// such socket between the supervisor and each process that it started.
public struct ControlKind: RawRepresentable, Hashable, Sendable {
    /// The wire's number; from 64 on they are the supervisor's own.
    public let rawValue: UInt16
    /// A kind with the wire's number.
    public init(rawValue: UInt16) { self.rawValue = rawValue }

    /// Supervisor to process, first of all: fields are the configuration, `number` the incarnation (from 1), descriptors as named.
    public static let configure = ControlKind(rawValue: 1)
    /// Process to supervisor: it is up; `number` is the recovered sequence number.
    public static let started = ControlKind(rawValue: 2)
    /// An answer, or the end of a start: it failed; `number` is the errno, the field `message` says more.
    public static let failed = ControlKind(rawValue: 3)
    /// An answer: it was done.
    public static let done = ControlKind(rawValue: 4)
    /// To a server: serve `channel`; descriptors `request`, `reply`, and perhaps `server-bell` and `client-bell` (eventfds);
    /// `number` is the epoch to wait for in the request memory.
    public static let attach = ControlKind(rawValue: 5)
    /// To a server: the client of `channel` was replaced; descriptor `request` holds the copy of the request memory to go on with.
    public static let replaceRequestMemory = ControlKind(rawValue: 6)
    /// To a server: finish what was begun on `channel`, then forget it. Answered when nothing of it is in flight.
    public static let detach = ControlKind(rawValue: 7)
    /// Client to supervisor: introduce me to the scheme in the field `scheme`; descriptors as for attach. Answered with
    /// `done` (`channel` is the channel's number) or `failed`.
    public static let connect = ControlKind(rawValue: 8)
    /// To a client: the server of `channel` changed; field `state`: `died`, `started` (`number` is the incarnation), `offline`.
    public static let serverChanged = ControlKind(rawValue: 9)
    /// To a process: commit, answer `done`, end.
    public static let finish = ControlKind(rawValue: 10)
    /// To a server: change settings while it runs (fields).
    public static let set = ControlKind(rawValue: 11)
    /// To a server: tell the settings and figures that it has; answered by `done` with fields.
    public static let get = ControlKind(rawValue: 12)
    /// Process to supervisor: keep these descriptors for my next incarnation under their names; those named by fields `drop` are let go.
    public static let hold = ControlKind(rawValue: 13)
    /// Process to supervisor: a line for the log (field `message`).
    public static let log = ControlKind(rawValue: 14)
    /// Supervisor to process: descriptors that are held for it, by name. After `configure`, whose field `held` says how many such
    /// messages follow at once; later as the answer to `accept`, with the field `listener`, and `number` the errno if there is
    /// no descriptor.
    public static let held = ControlKind(rawValue: 15)
    /// Process to supervisor: take the next caller of the held socket in the field `listener`, and hold it under the field
    /// `name`. Who accepts is who holds: a caller is lost at no moment. Answered by `held`.
    public static let accept = ControlKind(rawValue: 16)
    /// Process to supervisor: connect a socket to the endpoint in the field `endpoint`, one of those that the configuration grants,
    /// and hold it under the field `name`. Answered by `done` with the descriptor, which may not be connected yet, or `failed`.
    public static let dial = ControlKind(rawValue: 17)
}

/// Why bytes are no control message.
public enum ControlMessageError: Error, Equatable, Sendable {
    /// Fewer bytes than the header or a length in it says; the number is what there was.
    case truncated(Int)
    /// The first four bytes are wrong.
    case notAControlMessage
    /// Another version of the protocol.
    case version(UInt16)
    /// A text isn't UTF-8, or a field has no key.
    case malformed(offset: Int)
    /// The geometry isn't a possible one.
    case geometry
    /// Too many bytes, fields or descriptors to be sent.
    case tooLarge
}

/// A message on a control socket. Descriptors travel beside it, in the order of their names.
///
///      0  magic u32        4  kind u16       6  version u16
///      8  id u32          12  channel u32
///     16  number u64
///     24  flags u32 (bit 0: geometry present)    28  descriptor count u16   30  field count u16
///     32  geometry, 32 bytes
///     64  names of the descriptors, then keys and values of the fields in turn: each u16 length, bytes
public struct ControlMessage: Sendable, Equatable {
    /// A setting or figure.
    public struct Field: Sendable, Equatable {
        /// Its name.
        public let key: String
        /// Its value as text.
        public let value: String
        /// A field.
        public init(_ key: String, _ value: String) {
            self.key = key
            self.value = value
        }
    }
    /// "SBcm".
    public static let magic: UInt32 = 0x6d63_4253
    /// Bytes before the texts.
    public static let headerBytes = 64
    /// What the message says.
    public var kind: ControlKind
    /// Chosen by who asks, repeated in the answer; 0 where there is none.
    public var id: UInt32
    /// The channel that it is about, or 0.
    public var channel: UInt32
    /// Meaning by kind.
    public var number: UInt64
    /// The geometry of the channel, where one is introduced.
    public var geometry: ChannelGeometry?
    /// Settings, figures, texts.
    public var fields: [Field]
    /// The names of the descriptors that travel beside the message, in their order.
    public var descriptorNames: [String]

    /// A message.
    public init(
        _ kind: ControlKind, id: UInt32 = 0, channel: UInt32 = 0, number: UInt64 = 0,
        geometry: ChannelGeometry? = nil, fields: [Field] = [], descriptorNames: [String] = []
    ) {
        self.kind = kind
        self.id = id
        self.channel = channel
        self.number = number
        self.geometry = geometry
        self.fields = fields
        self.descriptorNames = descriptorNames
    }

    /// The value of the first field with this key.
    public subscript(key: String) -> String? {
        fields.first { $0.key == key }?.value
    }

    /// The bytes to send; throws `tooLarge` beyond 8 KiB or 16 descriptors.
    public func encoded() throws(ControlMessageError) -> [UInt8] {
        var bytes: [UInt8] = []
        func put<Value: FixedWidthInteger>(_ value: Value) {
            for index in 0..<(Value.bitWidth / 8) { bytes.append(UInt8(truncatingIfNeeded: value >> Value(index * 8))) }
        }
        func put(text: String) throws(ControlMessageError) {
            let utf8 = Array(text.utf8)
            guard let count = UInt16(exactly: utf8.count) else { throw .tooLarge }
            put(count)
            bytes += utf8
        }
        guard descriptorNames.count <= ProtocolLimits.maximumControlDescriptors,
            let fieldCount = UInt16(exactly: fields.count)
        else { throw .tooLarge }
        put(Self.magic)
        put(kind.rawValue)
        put(UInt16(ProtocolLimits.version))
        put(id)
        put(channel)
        put(number)
        put(geometry == nil ? UInt32(0) : 1)
        put(UInt16(descriptorNames.count))
        put(fieldCount)
        var geometryBytes = [UInt8](repeating: 0, count: ChannelGeometry.byteCount)
        if let geometry {
            var span = geometryBytes.mutableSpan
            var raw = unsafe span.mutableBytes
            geometry.encode(into: &raw)
        }
        bytes += geometryBytes
        for name in descriptorNames { try put(text: name) }
        for field in fields {
            try put(text: field.key)
            try put(text: field.value)
        }
        guard bytes.count <= ProtocolLimits.maximumControlBytes else { throw .tooLarge }
        return bytes
    }

    /// The message in `bytes`; everything is checked, nothing traps.
    public init(decoding bytes: RawSpan) throws(ControlMessageError) {
        guard bytes.byteCount >= Self.headerBytes else { throw .truncated(bytes.byteCount) }
        guard bytes.wire(0, as: UInt32.self) == Self.magic else { throw .notAControlMessage }
        let version = bytes.wire(6, as: UInt16.self)
        guard version == UInt16(ProtocolLimits.version) else { throw .version(version) }
        kind = ControlKind(rawValue: bytes.wire(4, as: UInt16.self))
        id = bytes.wire(8, as: UInt32.self)
        channel = bytes.wire(12, as: UInt32.self)
        number = bytes.wire(16, as: UInt64.self)
        if bytes.wire(24, as: UInt32.self) & 1 != 0 {
            guard let geometry = ChannelGeometry(decoding: bytes.extracting(32..<64)) else { throw .geometry }
            self.geometry = geometry
        } else {
            geometry = nil
        }
        let descriptorCount = Int(bytes.wire(28, as: UInt16.self))
        guard descriptorCount <= ProtocolLimits.maximumControlDescriptors else { throw .tooLarge }
        let fieldCount = Int(bytes.wire(30, as: UInt16.self))
        var position = Self.headerBytes
        descriptorNames = []
        fields = []
        for _ in 0..<descriptorCount { descriptorNames.append(try Self.text(bytes, &position)) }
        for _ in 0..<fieldCount {
            let start = position
            let key = try Self.text(bytes, &position)
            guard !key.isEmpty else { throw .malformed(offset: start) }
            fields.append(Field(key, try Self.text(bytes, &position)))
        }
    }

    private static func text(_ bytes: RawSpan, _ position: inout Int) throws(ControlMessageError) -> String {
        guard bytes.byteCount - position >= 2 else { throw .truncated(bytes.byteCount) }
        let count = Int(bytes.wire(position, as: UInt16.self))
        let start = position + 2
        guard bytes.byteCount - start >= count else { throw .truncated(bytes.byteCount) }
        var units: [UInt8] = []
        units.reserveCapacity(count)
        for index in start..<(start + count) { units.append(bytes.wire(index, as: UInt8.self)) }
        guard let text = String(validating: units, as: UTF8.self) else { throw .malformed(offset: position) }
        position = start + count
        return text
    }
}
