import Glibc
import Platform
import SchemeKit

// Who does what:
// - Calls come on the channels' workers. None waits: a call whose socket isn't ready throws `.wouldBlock` and is tried again.
// - One thread (`NetworkScheme+Loop`) waits for all sockets by epoll and has the calls tried again. A socket is watched only while
//   somebody waits for it.
// - The resolver has a thread of its own; callers are accepted by the supervisor, which tells by the control loop.

/// The network as files. See the README for what there is; the files' permissions and `AccessRules` say who may use it.
public final class NetworkScheme: NodeScheme {
    struct State {
        var connections: [Int: Connection] = [:]
        var byHandle: [HandleKey: Int] = [:]
        /// Handles of look-ups (`dns/NAME`).
        var lookups: [HandleKey: Lookup] = [:]
        /// Who waited for callers of a listener and can't have one, and hasn't been told why.
        var sentAway: [Waiter: Errno] = [:]
    }

    /// What a handle of `dns/NAME` reads.
    struct Lookup {
        var node: UInt64
        /// Who waits for the answer.
        var request: UInt64?
        var answer: Result<[SocketAddress], Errno>?
    }

    let host: SchemeHost
    let memory: NetworkMemory
    let state = Locked(State())
    /// The end of a read's answering.
    let answerEnd = ConditionVariable()
    let poll: EventPoll
    let bell: SharedDescriptor
    let resolver: Resolver
    let options: Options
    let echoSockets: EchoSockets
    let tls: TLSContext
    /// More connections would leave this process, or the supervisor that holds the same sockets, without descriptors.
    let connectionLimit: Int

    /// What it may do, and for whom.
    struct Options {
        var rules: AccessRules
        /// Who may use it besides root.
        var owner: (uid: UInt32, gid: UInt32)
        /// Whether `netcfg/resolv/nameserver` can be written.
        var maySetNameServers = false
    }

    var rules: AccessRules { options.rules }
    var owner: (uid: UInt32, gid: UInt32) { options.owner }

    /// Settings: `owner` (UID:GID of who mounted), `allow` and `deny` (lists of `AccessRules`), `netcfg` (`write`: the name servers
    /// can be changed). Descriptors: `certificates` (PEM, whom `tls` trusts), `icmp4` and `icmp6` (raw sockets).
    public convenience init(_ start: SchemeStart) throws(SchemeStartError) {
        let rules: AccessRules
        do {
            rules = try AccessRules(allow: start.setting("allow") ?? "", deny: start.setting("deny") ?? "")
        } catch {
            throw .badSetting("allow, deny", value: error.text)
        }
        let numbers = (start.setting("owner") ?? "0:0").split(separator: ":").compactMap { UInt32($0) }
        guard numbers.count == 2 else { throw .badSetting("owner", value: start.setting("owner") ?? "") }
        let grant = start.setting("netcfg") ?? "read"
        guard grant == "read" || grant == "write" else { throw .badSetting("netcfg", value: grant) }
        let options = Options(
            rules: rules, owner: (numbers[0], numbers[1]), maySetNameServers: grant == "write")
        var echo = EchoSockets(four: start.descriptor("icmp4"), six: start.descriptor("icmp6"))
        let memory = NetworkMemory(try SchemeState(start, byteCount: NetworkMemory.byteCount).memory)
        var held: [SocketName: SharedDescriptor] = [:]
        for text in start.descriptorNames {
            if let name = SocketName(text), let descriptor = start.descriptor(text) { held[name] = descriptor }
        }
        do throws(Errno) {
            echo.token = try Self.randomNumber()
            try self.init(
                start.host, memory, held, options, echo, TLSContext(certificates: start.descriptor("certificates")))
        } catch {
            throw .failed(error, "sockets")
        }
    }

    init(
        _ host: SchemeHost, _ memory: NetworkMemory, _ held: [SocketName: SharedDescriptor], _ options: Options,
        _ echoSockets: EchoSockets, _ tls: TLSContext
    ) throws(Errno) {
        self.host = host
        self.memory = memory
        self.options = options
        self.echoSockets = echoSockets
        self.tls = tls
        let descriptors = ResourceLimit.own(ResourceLimit.openFiles).soft
        connectionLimit = Int(clamping: descriptors / 16 * 11)
        poll = try EventPoll()
        bell = SharedDescriptor(try SystemCall.eventDescriptor())
        resolver = try Resolver()
        state.withLock { takeOver(held, &$0) }
        restoreNameServers()
        try poll.add(bell.rawValue, .readable, token: Self.bellToken)
        for raw in [echoSockets.four, echoSockets.six] {
            if let raw { try poll.add(raw.rawValue, .readable, token: Self.echoToken) }
        }
        host.onHeld { [weak self] answer in self?.accepted(answer) }
        try spawnThread(name: "sockets", stackSize: 512 << 10) { [self] in loop() }
    }

    private static func randomNumber() throws(Errno) -> UInt64 {
        var bytes = [UInt8](repeating: 0, count: 8)
        var span = bytes.mutableSpan
        var raw = unsafe span.mutableBytes
        try SystemCall.randomBytes(into: &raw)
        return bytes.reduce(0) { $0 << 8 | UInt64($1) }
    }

    /// Calls come from several threads.
    public var isSerial: Bool { false }

    /// Puts together what the last incarnation left: connections in memory, sockets with the supervisor.
    private func takeOver(_ held: [SocketName: SharedDescriptor], _ state: inout State) {
        var held = held
        for slot in 0..<NetworkMemory.slotCount {
            let kind = memory.kind(slot)
            guard kind != .free else { continue }
            completeBinding(slot, held)
            if kind == .listener, memory.stage(slot) != .listening {
                memory.free(slot)
                continue
            }
            // A session that was ending: its handle is closed, its keys are gone.
            if kind == .tls, memory.handle(slot) == 0 {
                memory.free(slot)
                continue
            }
            let connection = Connection(slot: slot, serial: memory.serial(slot), kind: kind)
            state.connections[slot] = connection
            if memory.isNumbered(slot) {
                connection.nodes = Self.dataNodes(slot, connection.serial)
            }
            if memory.handle(slot) != 0 {
                connection.nodes.insert(memory.node(slot))
                let key = HandleKey(channel: memory.channel(slot), handle: memory.handle(slot))
                state.byHandle[key] = slot
                if memory.isNumbered(slot) { connection.handles.insert(key) }
            }
            if kind == .echo { memory.setStage(slot, .connecting) }
            let stage = memory.stage(slot)
            if kind == .tls {
                // The keys died with the process: the session is over, but a session that hadn't begun is made anew.
                if stage == .connected {
                    memory.setFailure(slot, Errno.connectionReset.rawValue)
                    // The other side hears of it now, not when the last copy of the socket is closed.
                    if let socket = held[memory.socketName(slot)] {
                        try? SystemCall.shutDown(socket.rawValue, receiving: true, sending: true)
                    }
                }
            } else if stage == .connected || stage == .listening {
                connection.descriptor = held.removeValue(forKey: memory.socketName(slot))
                if connection.descriptor == nil { memory.setFailure(slot, Errno.connectionReset.rawValue) }
            }
        }
        for connection in state.connections.values {
            for (name, descriptor) in held where name.owner == connection.serial {
                if name.isCaller {
                    guard memory.stage(connection.slot) == .listening else { continue }
                    connection.pending.append((name, descriptor))
                } else if memory.stage(connection.slot) == .connecting, connection.kind != .tls {
                    connection.candidates[name.number] = descriptor
                    connection.attemptCount = max(connection.attemptCount, name.number)
                } else {
                    continue
                }
                held[name] = nil
            }
            connection.pending.sort { $0.name.number < $1.name.number }
        }
        // Left by a death in the middle of something: nobody knows of them.
        for name in held.keys { host.release(name.text) }
    }

    /// A socket that was bound, and held, when the process died before it wrote that down: the command that comes again finds it done.
    /// To bind another one to the address there would be a race with the supervisor.
    private func completeBinding(_ slot: Int, _ held: [SocketName: SharedDescriptor]) {
        let name = SocketName(owner: memory.serial(slot), number: 0)
        guard memory.stage(slot) == .idle, let socket = held[name] else { return }
        if memory.kind(slot) == .udp {
            memory.setHasHeaders(slot)
        } else {
            // What was hung up meanwhile doesn't listen.
            let isListening = try? SystemCall.socketOption(socket.rawValue, level: SOL_SOCKET, name: SO_ACCEPTCONN)
            guard isListening == 1 else { return }
        }
        memory.setSocketName(slot, name)
        memory.setStage(slot, memory.kind(slot) == .udp ? .connected : .listening)
    }

    static func dataNodes(_ slot: Int, _ serial: UInt64) -> Set<UInt64> {
        Set(
            [NumberedFile.ctl, .data, .listen].map {
                NodeNumber.numbered(slot: slot, serial: serial, file: $0).number
            })
    }

    // MARK: Connections

    /// Makes a connection; ENFILE if there are too many, EMFILE if there are as many as there may be descriptors for.
    func make(
        _ kind: ConnectionKind, stage: ConnectionStage, _ context: CallContext, handle: UInt64, node: UInt64,
        isNumbered: Bool, text: String, _ state: inout State
    ) throws(Errno) -> Connection {
        guard state.connections.count < connectionLimit else { throw .tooManyOpenFiles }
        guard let slot = memory.freeSlot else { throw .tooManyOpenFilesInSystem }
        memory.make(
            slot, kind, stage: stage, node: node, channel: context.channel, handle: handle, request: context.requestID,
            isNumbered: isNumbered, text: text)
        let connection = Connection(slot: slot, serial: memory.serial(slot), kind: kind)
        connection.isSettled = true
        state.connections[slot] = connection
        if isNumbered { connection.nodes = Self.dataNodes(slot, connection.serial) }
        if handle != 0 {
            connection.nodes.insert(node)
            let key = HandleKey(context, handle)
            state.byHandle[key] = slot
            if isNumbered { connection.handles.insert(key) }
        }
        return connection
    }

    /// Ends a connection: the other side gets what was written, then the end.
    func end(_ connection: Connection, _ state: inout State) {
        stopConnecting(connection)
        if lingers(connection, &state) { return }
        if let descriptor = connection.descriptor {
            if connection.isWatched { try? poll.remove(descriptor.rawValue) }
            // The supervisor has the socket a moment longer: the other side needn't wait for that.
            if connection.kind == .tcp || connection.kind == .tls, memory.stage(connection.slot) == .connected {
                try? SystemCall.shutDown(descriptor.rawValue, receiving: false, sending: true)
            }
            // Nobody is to come any more, also while the supervisor has the socket.
            if memory.stage(connection.slot) == .listening {
                try? SystemCall.shutDown(descriptor.rawValue, receiving: true, sending: true)
            }
        }
        for waiter in connection.waiters { state.sentAway[waiter] = .connectionAbort }
        let name = memory.socketName(connection.slot)
        memory.free(connection.slot)
        if connection.descriptor != nil, connection.kind != .echo { host.release(name.text) }
        for caller in connection.pending { host.release(caller.name.text) }
        connection.descriptor = nil
        state.connections[connection.slot] = nil
        if state.byHandle.contains(where: { $0.value == connection.slot }) {
            state.byHandle = state.byHandle.filter { $0.value != connection.slot }
        }
    }

    /// The connection that a handle reads and writes.
    func find(_ node: UInt64, _ handle: UInt64, _ context: CallContext, _ state: State) throws(Errno) -> Connection {
        if case .numbered(let slot, let serial, let file)? = NodeNumber(node), file != .listen {
            let found = try numbered(slot, serial, state)
            // Also a handle whose opening was answered and not written down before the last death.
            if handle != 0 { found.handles.insert(HandleKey(context, handle)) }
            return found
        }
        guard let slot = state.byHandle[HandleKey(context, handle)], let found = state.connections[slot] else {
            throw .badFileDescriptor
        }
        return found
    }

    func numbered(_ slot: Int, _ serial: UInt64, _ state: State) throws(Errno) -> Connection {
        guard let found = state.connections[slot], found.serial & NodeNumber.serialMask == serial,
            memory.isNumbered(slot)
        else { throw .staleNFSFileHandle }
        return found
    }

    /// What a handle's reads and writes mean.
    func role(_ node: UInt64, _ handle: UInt64, _ context: CallContext) throws(Errno) -> NumberedFile {
        switch NodeNumber(node) {
        case .numbered(_, _, let file): return file == .listen ? .ctl : file
        case .configuration(let place, _) where !place.isDirectory: return .status
        case .name(let serial):
            if let name = memory.name(serial) {
                return name.kind == .tcpClone || name.kind == .udpClone ? .ctl : name.kind == .dns ? .status : .data
            }
            // Its name is long forgotten, but not what was opened.
            return state.withLock { state in
                if state.lookups[HandleKey(context, handle)] != nil { return .status }
                guard let slot = state.byHandle[HandleKey(context, handle)] else { return .data }
                return memory.isNumbered(slot) ? .ctl : .data
            }
        default: throw .isDirectory
        }
    }

    /// Only who mounted, and root.
    func checkCaller(_ context: CallContext) throws(Errno) {
        guard context.uid == owner.uid || context.uid == 0 else { throw .permissionDenied }
    }

    // MARK: Ends

    /// Ends what came through the channel.
    public func channelEnded(_ channel: UInt32) {
        let nodes = state.withLock { state -> Set<UInt64> in
            for key in state.byHandle.keys where key.channel == channel { close(key, &state) }
            state.lookups = state.lookups.filter { $0.key.channel != channel }
            state.sentAway = state.sentAway.filter { $0.key.channel != channel }
            return Set(state.sentAway.keys.map(\.node))
        }
        for node in nodes { host.wake(node) }
    }

    /// The number of connections.
    public func report() -> [ControlMessage.Field] {
        let count = state.withLock { $0.connections.count }
        return [ControlMessage.Field("connections", "\(count)")]
    }
}
