import CFuse3
import Glibc
import Platform
import SystemPackage

// Who reads:
// - One thread at a time reads requests (holds the reading). It carries out what it read and reads again, without any
//   hand-over: with one client a request's whole chain stays on one thread and wakes nobody.
// - A thread that is going to wait for long passes the reading on, to the thread that became idle last (its caches are warm),
//   or to a new one.
// - A thread that passed the reading on and is done takes it back if nobody has it, and else becomes idle, or ends if many are.
// - A thread that waits holds a stack and the few bytes of its request, not what requests are read into: thousands may wait.
// - When so many wait that there can't be another thread, who reads doesn't wait: a request that might wait for ever ends (EAGAIN), so
//   that what others ask, and who wants to wait no longer, is heard.

/// The threads that serve a session.
final class FuseWorkers: Sendable {
    struct State {
        var isReading = false
        var isStopped = false
        var count = 0
        var idle: [FuseWorker] = []
    }

    let state = Locked(State())
    let ended = ConditionVariable()
    let maximumCount: Int
    /// So many threads without work are kept.
    private static let idleLimit = 64
    /// For the operations of a backend, with room to spare, in bytes.
    private static let stackByteCount = 256 << 10

    init(maximumCount: Int) {
        self.maximumCount = max(1, maximumCount)
    }

    /// Runs until the session has ended and all threads but the caller's are gone.
    func run(_ session: FuseSession) throws(Errno) {
        let first = FuseWorker(session)
        state.withLock { state in
            state.count += 1
            state.isReading = true
        }
        first.isReading = true
        first.serve()
        state.wait(on: ended) { state in state.count == 0 ? () : nil }
    }

    /// Lets another thread read. False if nobody could be found: the caller keeps the reading.
    func passOn(_ session: FuseSession) -> Bool {
        enum Successor {
            case idle(FuseWorker), new, none
        }
        let successor: Successor = state.withLock { state in
            if state.isStopped { return .none }
            if let worker = state.idle.popLast() {
                worker.isReading = true
                return .idle(worker)
            }
            guard state.count < maximumCount else { return .none }
            state.count += 1
            return .new
        }
        switch successor {
        case .none: return false
        case .idle(let worker):
            worker.wakeUp.signal()
            return true
        case .new:
            let worker = FuseWorker(session)
            worker.isReading = true
            do {
                try spawnThread(name: "fuse", stackSize: Self.stackByteCount) { worker.serve() }
                return true
            } catch {
                state.withLock { state in state.count -= 1 }
                return false
            }
        }
    }

    /// Nobody but the thread that reads has anything to do.
    var readerIsAlone: Bool { state.withLock { $0.count - $0.idle.count <= 1 } }

    /// Waits until this thread is to read. False: it isn't needed, as the session has ended or many are idle.
    ///
    /// - Parameter orIdle: called before it waits.
    func becomeReader(_ worker: FuseWorker, orIdle prepare: () -> Void) -> Bool {
        let isReader = state.withLock { state -> Bool in
            guard !state.isStopped, !state.isReading else { return false }
            state.isReading = true
            worker.isReading = true
            return true
        }
        if isReader { return true }
        prepare()
        var isListed = false
        return state.wait(on: worker.wakeUp) { state -> Bool? in
            if state.isStopped { return false }
            if worker.isReading { return true }
            if isListed { return nil }
            if !state.isReading, !isListed {
                state.isReading = true
                worker.isReading = true
                return true
            }
            if state.idle.count >= Self.idleLimit { return false }
            state.idle.append(worker)
            isListed = true
            return nil
        }
    }

    /// The mount is gone: everybody ends.
    func stop() {
        let idle = state.withLock { state in
            state.isStopped = true
            defer { state.idle = [] }
            return state.idle
        }
        for worker in idle { worker.wakeUp.broadcast() }
    }

    func didEnd() {
        state.withLock { state in state.count -= 1 }
        ended.broadcast()
    }
}

/// One thread of a session and the request it works on.
@safe
final class FuseWorker: @unchecked Sendable {
    /// Holds its idle workers only as long as it runs.
    let session: FuseSession
    /// Woken when it is to read. Guards nothing itself: `FuseWorkers.state` does.
    let wakeUp = ConditionVariable()
    /// Changed by other threads only while this one is idle, under the lock of `FuseWorkers.state`.
    var isReading = false
    /// The request's bytes as the kernel wrote them.
    private(set) var raw = unsafe UnsafeRawBufferPointer(start: nil, count: 0)
    private var place = ReaderPlace()
    /// The receive buffer, if it is the backend's.
    var lent: FuseReceiveBuffer?
    /// Where listings are encoded; grows to the largest that was asked for.
    private(set) var listing = unsafe UnsafeMutableRawBufferPointer(start: nil, count: 0)
    /// The receive buffer, if it is our own.
    private var own = unsafe UnsafeMutableRawPointer(bitPattern: 0)
    private var ownIsResident = false
    /// The request at hand, if it is small.
    private let small: UnsafeMutableRawPointer
    /// The request at hand lies where it was read.
    private var isInPlace = false

    /// Requests up to this size leave what they were read into: all but large writes and attributes.
    private static let smallByteCount = 8 << 10

    init(_ session: FuseSession) {
        self.session = session
        unsafe small = .allocate(byteCount: Self.smallByteCount, alignment: 16)
    }

    deinit {
        unsafe listing.deallocate()
        unsafe small.deallocate()
        giveOwnBuffer()
    }

    /// The worker whose thread this is.
    @unsafe static var current: FuseWorker? {
        guard let pointer = unsafe pthread_getspecific(currentKey) else { return nil }
        return unsafe Unmanaged<FuseWorker>.fromOpaque(pointer).takeUnretainedValue()
    }

    /// Makes this worker the thread's own while the body runs.
    func asCurrent(_ body: () -> Void) {
        unsafe pthread_setspecific(currentKey, Unmanaged.passUnretained(self).toOpaque())
        body()
        pthread_setspecific(currentKey, nil)
    }

    /// The thread's loop.
    func serve() {
        asCurrent {
            while isReading || waitForReading() {
                guard receiveAndProcess() else {
                    session.workers.stop()
                    break
                }
            }
        }
        returnBuffer()
        session.workers.didEnd()
    }

    private func waitForReading() -> Bool {
        session.workers.becomeReader(self) {
            returnBuffer()
            session.backend.willIdle()
        }
    }

    /// Another thread reads while this one waits. False: there can't be another one.
    ///
    /// - Parameter keepsRequest: what was read will still be looked at.
    func passOnReading(keepsRequest: Bool) -> Bool {
        if isInPlace, !keepsRequest {
            isInPlace = false
            unsafe raw = UnsafeRawBufferPointer(start: nil, count: 0)
            returnBuffer()
        }
        guard isReading else { return true }
        session.backend.willIdle()
        if !isInPlace { returnBuffer() }
        isReading = false
        isReading = !session.workers.passOn(session)
        return !isReading
    }

    /// Memory for a listing of so many bytes.
    func listingBuffer(byteCount: Int) -> UnsafeMutableRawBufferPointer {
        if unsafe listing.count < byteCount {
            unsafe listing.deallocate()
            unsafe listing = .allocate(byteCount: byteCount, alignment: 4096)
        }
        return unsafe UnsafeMutableRawBufferPointer(rebasing: listing[..<byteCount])
    }

    /// Reads one request and carries it out. False: the mount is gone.
    func receiveAndProcess() -> Bool {
        if unsafe lent == nil { unsafe lent = session.backend.takeReceiveBuffer() }
        var buffer = unsafe fuse_buf()
        unsafe buffer.mem = unsafe lent?.base ?? ownBuffer()
        let result = unsafe fuse_session_receive_buf(session.session, &buffer)
        if result > 0 {
            let arrival = Clock.monotonicNanoseconds()
            unsafe buffer.mem = takeOut(buffer.mem, byteCount: Int(result))
            unsafe raw = UnsafeRawBufferPointer(start: buffer.mem, count: Int(result))
            if !handleDirectly() { unsafe fuse_session_process_buf(session.session, &buffer) }
            unsafe raw = UnsafeRawBufferPointer(start: nil, count: 0)
            place.finishedTurn(isReading ? Clock.monotonicNanoseconds() &- arrival : nil)
        }
        if unsafe fuse_session_exited(session.session) != 0 { return false }
        // An interrupted read is no end; a descriptor that fails for good is.
        return result > 0 || result == -EINTR || result == -EAGAIN
    }

    /// Copies a small request out of what it was read into. Where it lies then.
    private func takeOut(_ bytes: UnsafeMutableRawPointer, byteCount: Int) -> UnsafeMutableRawPointer {
        isInPlace = byteCount > Self.smallByteCount
        if isInPlace { return unsafe bytes }
        unsafe small.copyMemory(from: bytes, byteCount: byteCount)
        return unsafe small
    }

    /// The backend's memory that the request at hand lies in; nil if it lies elsewhere.
    func takeBufferInUse() -> FuseReceiveBuffer? { isInPlace ? unsafe lent.take() : nil }

    /// A thread that doesn't read keeps no receive buffer.
    private func returnBuffer() {
        giveOwnBuffer()
        guard let buffer = unsafe lent.take() else { return }
        unsafe session.backend.giveReceiveBuffer(buffer)
    }

    private func ownBuffer() -> UnsafeMutableRawPointer {
        if let own = unsafe own { return unsafe own }
        // While a mount is taken over the kernel isn't read from.
        ownIsResident = !session.isTakingOver.load(ordering: .relaxed)
        let new = unsafe ReceiveMemory.take(isResident: ownIsResident)
        unsafe own = new
        return unsafe new
    }

    private func giveOwnBuffer() {
        guard let buffer = unsafe own.take() else { return }
        unsafe ReceiveMemory.give(buffer, isResident: ownIsResident)
    }
}

/// Where a thread keeps its worker.
private let currentKey: pthread_key_t = {
    var key = pthread_key_t()
    unsafe pthread_key_create(&key, nil)
    return key
}()
