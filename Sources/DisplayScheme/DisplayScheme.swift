import Platform
public import SchemeKit

/// Displays as files: pixels, a terminal, input, windows.
///
///     N/info        size, format and counts
///     N/size        1280x720; writing changes it
///     N/fb          the pixels, blue green red opacity; behind the last one the first follows: frames can be written one after the other
///     N/damage      rectangles (`x y width height`) whose mapped pixels are to be shown now
///     N/screen.png  what is seen now
///     N/cursor      `x y visible buttons`; writing moves it
///     N/input       events as lines; written events are taken as if a user had caused them
///     N/input.raw   the same as records of 24 bytes
///     N/text        a terminal: what is written is shown, what is typed is read
///     N/clipboard   a text
///     window/FLAGS/X/Y/WIDTH/HEIGHT/TITLE  opening makes a window on display 0, closing takes it away
///     windows/ID    the pixels of a window that is open
///
/// Everything lies in memory that the supervisor holds: the next incarnation goes on with it.
public final class DisplayScheme: NodeScheme {
    let core: Locked<DisplayCore>
    private let host: SchemeHost?

    /// The calls lock what they use.
    public var isSerial: Bool { false }

    /// The displays in a memory of `byteCount` bytes.
    ///
    /// - Parameters:
    ///   - incarnation: which start of the server this is.
    ///   - size: the size of display 0 when it is made, as a text (`1280x720`); nil for the usual one.
    ///   - owner: the user and group whose display 0 is.
    ///   - viewers: lines for `info` that say where viewers can connect.
    public init(
        _ state: SchemeState, host: SchemeHost? = nil, incarnation: UInt32 = 1, size: String? = nil,
        owner: (UInt32, UInt32) = (0, 0), viewers: String = ""
    ) throws(Errno) {
        var wanted = PixelSize.standard
        if let size {
            guard let given = PixelSize(text: size) else { throw .invalidArgument }
            wanted = given
        }
        self.host = host
        core = Locked(
            DisplayCore(DisplayMemory(state.memory), incarnation: incarnation, size: wanted, owner: owner))
        core.withLock { $0.viewers = viewers }
    }

    /// Bytes of the memory that a display server needs; only what is used is ever there.
    public static var stateByteCount: Int { DisplayMemory.byteCount }

    /// Works on the displays, and afterwards has those tried again who waited for what was done.
    func change<Result>(
        _ context: inout CallContext, _ body: (inout DisplayCore) throws(Errno) -> Result
    ) throws(Errno) -> Result {
        var woken: [UInt64] = []
        var stale: Set<UInt64> = []
        defer {
            for node in woken { context.wake(node) }
            for node in stale { host?.invalidate(node) }
        }
        return try core.withLock { core throws(Errno) in
            defer {
                woken = core.takeWoken()
                stale = core.staleNodes
                core.staleNodes = []
            }
            return try body(&core)
        }
    }

    /// Works on the displays for a viewer.
    func change<Result>(_ body: (inout DisplayCore) -> Result) -> Result {
        let (result, woken, stale) = core.withLock { core in
            let result = body(&core)
            defer { core.staleNodes = [] }
            return (result, core.takeWoken(), core.staleNodes)
        }
        for node in woken { host?.wake(node) }
        for node in stale { host?.invalidate(node) }
        return result
    }

    // MARK: NodeScheme. Documented there.

    // swift-format-ignore: AllPublicDeclarationsHaveDocumentation
    public func channelEnded(_ channel: UInt32) {
        core.withLock { core in
            for key in core.handles.keys where key.channel == channel { core.close(key) }
            core.state.answers[channel] = nil
            _ = core.keep(nil)
        }
    }

    // swift-format-ignore: AllPublicDeclarationsHaveDocumentation
    public func replayFinished(_ context: inout CallContext) throws(Errno) {
        try change(&context) { core throws(Errno) in core.dropUnused() }
    }

    // swift-format-ignore: AllPublicDeclarationsHaveDocumentation
    public func report() -> [ControlMessage.Field] {
        core.withLock { core in
            let displays = core.state.displays.enumerated().compactMap { number, display in
                display.map { "\(number):\($0.size.text)" }
            }
            return [
                ControlMessage.Field("displays", displays.joined(separator: " ")),
                ControlMessage.Field("windows", "\(core.state.windows.count)"),
                ControlMessage.Field("viewers", "\(core.viewerCount)"),
            ]
        }
    }
}
