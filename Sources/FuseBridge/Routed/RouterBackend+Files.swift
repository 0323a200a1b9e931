import Glibc
import Platform
import Router
import SchemeProtocol
import SystemPackage

extension RouterBackend {
    /// Opens a file.
    public func open(
        _ request: FuseRequest, node: UInt64, flags: UInt32, clearsPrivileges: Bool
    ) throws(Errno) -> FuseOpenedFile {
        let target = try target(node)
        guard case .scheme(let route, let number) = target else {
            guard Int32(bitPattern: flags) & O_ACCMODE == O_RDONLY else { throw .readOnlyFileSystem }
            return FuseOpenedFile(handle: snapshots.open(), flags: .directIO)
        }
        let handle = try route.reserveHandle(node: number, flags: flags)
        let call = call(
            .open, request, number, handle: handle, RequestArguments(flags: flags),
            flags: clearsPrivileges ? .killPrivileges : [])
        do throws(Errno) {
            let file = try lookingAgain(request, route) { () throws(Errno) in
                try route.perform(call) { answer in opened(answer, handle, route) }
            }
            endLook(request, node)
            return file
        } catch {
            route.didNotOpen(handle)
            throw error
        }
    }

    /// What a server said of an opened file. A resent request has the number that was reserved the first time.
    private func opened(
        _ answer: borrowing Answer, _ reserved: UInt64, _ route: SchemeRoute
    ) -> FuseOpenedFile {
        let handle = answer.entry.handle
        if handle != reserved { route.didNotOpen(reserved) }
        return FuseOpenedFile(handle: handle, flags: OpenedFlags(rawValue: answer.value0 & 0xffff_ffff))
    }

    /// Makes a file and opens it.
    public func create(
        _ request: FuseRequest, parent: UInt64, name: RawSpan, mode: UInt32, flags: UInt32
    ) throws(Errno) -> (NodeAttributes, FuseOpenedFile) {
        try openNew(.create, request, parent, name, mode, flags)
    }

    /// Makes a file without a name and opens it.
    public func createUnnamed(
        _ request: FuseRequest, parent: UInt64, mode: UInt32, flags: UInt32
    ) throws(Errno) -> (NodeAttributes, FuseOpenedFile) {
        try openNew(.tmpfile, request, parent, RawSpan(), mode, flags)
    }

    private func openNew(
        _ opcode: Opcode, _ request: FuseRequest, _ parent: UInt64, _ name: RawSpan, _ mode: UInt32, _ flags: UInt32
    ) throws(Errno) -> (NodeAttributes, FuseOpenedFile) {
        let (route, directory) = try writable(parent)
        let handle = try route.reserveHandle(node: directory, flags: flags)
        var arguments = RequestArguments(flags: flags)
        arguments.word0 = UInt64(mode) | UInt64(request.mask) << 32
        let call = call(opcode, request, directory, handle: handle, arguments, payloadBytes: name.byteCount)
        do throws(Errno) {
            return try route.perform(
                call,
                {
                    put(name, at: 0, into: &$0); return name.byteCount
                }
            ) {
                answer throws(Errno) in
                return (try attributes(answer, route), opened(answer, handle, route))
            }
        } catch {
            route.didNotOpen(handle)
            throw error
        }
    }

    /// Closes.
    ///
    /// No application waits for the end of that, and the kernel drops the answer: what a server has to do for it alone (nobody is
    /// told of it, as with a pipe's end) is put into its ring and done together with the next request, or when there is none, or after
    /// a millisecond.
    public func release(_ request: FuseRequest, node: UInt64, handle: UInt64, flags: UInt32) {
        guard handle != 0, case .scheme(let route, let number)? = try? target(node) else {
            return snapshots.close(handle)
        }
        full.remove(node)
        let call = call(.close, request, number, handle: handle, RequestArguments(flags: flags))
        do throws(Errno) {
            if route.description.hasEvents {
                try route.perform(call) { _ in }
            } else {
                try route.post(call)
                if postponed.load(ordering: .relaxed) < 0 {
                    postponedAt.store(Clock.monotonicNanoseconds(), ordering: .relaxed)
                    postponed.store(route.index, ordering: .releasing)
                }
            }
        } catch {
            // Nobody can be told. A scheme that is offline was not asked.
            if error == .operationNotSupportedByDevice { route.didNotOpen(handle) }
        }
    }

    /// Reads. The reply goes from the server's memory to the kernel as it is.
    public func read(
        _ request: FuseRequest, node: UInt64, handle: UInt64, at offset: UInt64, byteCount: Int, flags: UInt32,
        isCacheRead: Bool, _ reply: (UnsafeRawBufferPointer) -> Void
    ) throws(Errno) {
        switch try target(node) {
        case .root: throw .isDirectory
        case .system(let file):
            guard let text = snapshots.text(handle, at: offset, { system.contents(file) }) else { throw .isDirectory }
            let part = text.dropFirst(Int(clamping: offset)).prefix(byteCount)
            unsafe part.withUnsafeBytes { unsafe reply($0) }
        case .scheme(let route, let number):
            // The kernel's cache takes less than it asked for as the end of the file.
            let wanted = min(byteCount, FuseSession.maximumTransferByteCount)
            let count = isCacheRead ? wanted : route.room(for: wanted)
            let call = call(
                .read, request, number, handle: handle, offset: offset, RequestArguments(flags: flags),
                flags: isCacheRead ? .fromCache : [], replyBytes: count)
            try route.perform(call) { answer in unsafe answer.reply.withUnsafeBytes { unsafe reply($0) } }
        }
    }

    /// Makes the node's contents durable.
    public func synchronize(
        _ request: FuseRequest, node: UInt64, handle: UInt64?, dataOnly: Bool
    ) throws(Errno) {
        guard case .scheme(let route, let number) = try target(node) else { return }
        let arguments = RequestArguments(flags: dataOnly ? 1 : 0)
        try route.perform(call(.fsync, request, number, handle: handle ?? 0, arguments)) { _ in }
    }

    /// Makes everything durable.
    public func synchronizeAll(_ request: FuseRequest, node: UInt64) throws(Errno) {
        switch try target(node) {
        case .scheme(let route, let number): try route.perform(call(.syncfs, request, number)) { _ in }
        case .root: router.commitAll()
        case .system: break
        }
    }

    /// Reserves, punches or zeroes.
    public func allocate(
        _ request: FuseRequest, node: UInt64, handle: UInt64, mode: UInt32, at offset: UInt64, byteCount: UInt64
    ) throws(Errno) {
        let (route, number) = try writable(node)
        // The kernel leaves it to us who may keep the bits (HANDLE_KILLPRIV_V2): whoever isn't root loses them.
        let call = call(
            .fallocate, request, number, handle: handle, offset: offset,
            RequestArguments(flags: mode, word0: byteCount), flags: request.user == 0 ? [] : .killPrivileges)
        try route.perform(call) { _ in }
    }

    /// SEEK_DATA and SEEK_HOLE.
    public func seek(
        _ request: FuseRequest, node: UInt64, handle: UInt64, from offset: UInt64, whence: Int32
    ) throws(Errno) -> UInt64 {
        guard case .scheme(let route, let number) = try target(node) else { throw .invalidArgument }
        let arguments = RequestArguments(flags: UInt32(bitPattern: whence))
        let call = call(.lseek, request, number, handle: handle, offset: offset, arguments)
        return try route.perform(call) { answer in UInt64(answer.result) }
    }

    /// The most that one request copies: others wait no longer than for a few large writes.
    private static let copyLimit: UInt64 = 16 << 20

    /// Copies inside a scheme.
    public func copyRange(
        _ request: FuseRequest, node: UInt64, handle: UInt64, at offset: UInt64, to target: UInt64,
        targetHandle: UInt64, targetOffset: UInt64, byteCount: UInt64
    ) throws(Errno) -> Int {
        let (route, from, to) = try pair(node, target)
        let arguments = RequestArguments(
            word0: to, word1: targetHandle, word2: targetOffset, word3: min(byteCount, Self.copyLimit))
        let call = call(
            .copyFileRange, request, from, handle: handle, offset: offset, arguments,
            flags: request.user == 0 ? [] : .killPrivileges)
        return try route.perform(call) { answer in Int(answer.result) }
    }

    /// poll(2).
    public func poll(
        _ request: FuseRequest, node: UInt64, handle: UInt64, events: UInt32, wakeHandle: UInt64?
    ) throws(Errno) -> UInt32 {
        guard case .scheme(let route, let number) = try target(node) else { return UInt32(POLLIN) }
        if let wakeHandle { route.setWakeHandle(wakeHandle, handle: handle) }
        let arguments = RequestArguments(flags: events, word0: wakeHandle == nil ? 0 : 1)
        return try route.perform(call(.poll, request, number, handle: handle, arguments)) { answer in
            UInt32(truncatingIfNeeded: answer.result)
        }
    }

    /// ioctl(2).
    public func control(
        _ request: FuseRequest, node: UInt64, handle: UInt64, command: UInt32, input: RawSpan, outputByteCount: Int,
        _ reply: (UnsafeRawBufferPointer) -> Void
    ) throws(Errno) -> Int32 {
        guard case .scheme(let route, let number) = try target(node) else { throw .inappropriateIOCTLForDevice }
        let call = call(
            .ioctl, request, number, handle: handle, RequestArguments(word0: UInt64(command)),
            payloadBytes: input.byteCount, replyBytes: min(outputByteCount, 65536))
        return try route.perform(
            call,
            {
                put(input, at: 0, into: &$0); return input.byteCount
            }
        ) { answer in
            if !answer.reply.isEmpty { unsafe answer.reply.withUnsafeBytes { unsafe reply($0) } }
            return Int32(truncatingIfNeeded: answer.result)
        }
    }
}
