/// The limits of the protocol: what both sides of a channel may rely on.
///
/// All sizes are in bytes unless the name says otherwise.
public enum ProtocolLimits {
    /// The version of the wire format; sides with different versions refuse each other.
    public static let version: UInt32 = 1
    /// The unit in which payload memory is given out.
    public static let pageBytes = 4096
    /// The largest transfer of one read or write.
    public static let maximumTransferBytes = 1 << 20
    /// The largest payload of one request: a transfer, and the pages for what stands before and after it.
    public static let maximumPayloadBytes = maximumTransferBytes + 4 * pageBytes
    /// The longest path of a path-based call, without a terminating zero.
    public static let maximumPathBytes = 4095
    /// The longest name of a directory entry that the protocol carries (a scheme may allow less).
    public static let maximumNameBytes = 255
    /// The largest value of an extended attribute (xattr(7)).
    public static let maximumAttributeValueBytes = 65536
    /// Bytes of a request record: entry, arguments, the client's book-keeping, inline payload.
    public static let requestRecordBytes = 512
    /// Where the client's own book-keeping starts in a request record.
    public static let bookkeepingOffset = 128
    /// Where the inline payload starts in a request record.
    public static let inlinePayloadOffset = 256
    /// The largest payload that lies in the request record itself.
    public static let inlinePayloadBytes = 256
    /// Bytes of a reply record: completion entry and inline reply.
    public static let replyRecordBytes = 256
    /// Where the inline reply starts in a reply record.
    public static let inlineReplyOffset = 64
    /// The largest reply that lies in the reply record itself.
    public static let inlineReplyBytes = 192
    /// The fewest request records of a channel.
    public static let minimumRecordCount = 16
    /// The most request records of a channel.
    public static let maximumRecordCount = 65536
    /// The largest payload area of one direction.
    public static let maximumAreaBytes = 1 << 30
    /// Threads of a server that may mark the request they work on.
    public static let maximumWorkers = 16
    /// The status of a process that ended itself as its `crash-plan` said: nothing that it had in hand is to blame.
    public static let plannedCrashStatus: Int32 = 71
    /// Opcodes are smaller than this; counters are kept for each.
    public static let opcodeCount = 128
    /// The largest control message, without descriptors.
    public static let maximumControlBytes = 8192
    /// The most descriptors in one control message.
    public static let maximumControlDescriptors = 16
}
