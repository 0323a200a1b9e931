import CFuse3
import Glibc
import Synchronization
import SystemPackage

/// How far this process has taken over the mount of a dead one.
struct FuseRestart {
    /// The INIT request to give libfuse at its next read, instead of one from the kernel.
    var fed: [UInt8]?
    /// The reply to it is not written: the kernel had it from the dead process.
    var swallowsReply = false
    /// The reply that was swallowed: should the dead process not have written its own, the kernel asks again.
    var reply: [UInt8]?
}

/// Reads a request: from the kernel, or INIT from what the dead process saved.
@unsafe
func readHook(
    _ descriptor: Int32, _ buffer: UnsafeMutableRawPointer?, _ byteCount: Int, _ context: UnsafeMutableRawPointer?
) -> Int {
    guard let buffer = unsafe buffer, let context = unsafe context else {
        errno = EINVAL
        return -1
    }
    let session = unsafe Unmanaged<FuseSession>.fromOpaque(context).takeUnretainedValue()
    if session.isTakingOver.load(ordering: .relaxed),
        let fed = session.restart.withLock({ restart in restart.fed.take() })
    {
        unsafe UnsafeMutableRawBufferPointer(start: buffer, count: byteCount).copyBytes(from: fed)
        return fed.count
    }
    let count = unsafe session.nextRequest(descriptor, buffer, byteCount)
    if count >= MemoryLayout<fuse_in_header>.size,
        unsafe buffer.load(fromByteOffset: 4, as: UInt32.self) == FUSE_INIT.rawValue
    {
        unsafe session.didReadInitialization(UnsafeRawBufferPointer(start: buffer, count: count))
    }
    return count
}

/// Writes a reply or a notification.
@unsafe
func writeHook(
    _ descriptor: Int32, _ vector: UnsafeMutablePointer<iovec>?, _ count: Int32, _ context: UnsafeMutableRawPointer?
) -> Int {
    guard let vector = unsafe vector, count > 0, let context = unsafe context else {
        errno = EINVAL
        return -1
    }
    let session = unsafe Unmanaged<FuseSession>.fromOpaque(context).takeUnretainedValue()
    for index in 0..<Int(count) {
        let part = unsafe UnsafeRawBufferPointer(start: vector[index].iov_base, count: vector[index].iov_len)
        unsafe Residence.prepareForReplying(part)
    }
    if session.isInitializing.load(ordering: .relaxed) {
        if let answer = unsafe session.initializationReply(vector, count) { return answer }
        let written = unsafe writev(descriptor, vector, count)
        if written > 0 { session.didWriteInitialization() }
        return written
    }
    return unsafe writev(descriptor, vector, count)
}

extension FuseSession {
    /// If a dead process served this mount before, becomes its successor: libfuse is given the INIT of then, and the kernel is asked
    /// to hand out again what it got no reply for.
    func takeOver() {
        guard let saved = state?.initialization else { return }
        restart.withLock { restart in
            restart.fed = saved
            restart.swallowsReply = true
        }
        isTakingOver.store(true, ordering: .relaxed)
        isInitializing.store(true, ordering: .relaxed)
        let worker = FuseWorker(self)
        worker.asCurrent { _ = worker.receiveAndProcess() }
        isTakingOver.store(false, ordering: .relaxed)
        isInitializing.store(false, ordering: .relaxed)
        notifier.resend()
    }

    /// Serves requests until INIT is answered, then returns: what is left of a process that dies right after its start.
    package func runUntilInitialized() -> Bool {
        let worker = FuseWorker(self)
        worker.asCurrent {
            while state?.isInitialized == false, worker.receiveAndProcess() {}
        }
        return state?.isInitialized ?? false
    }

    /// The kernel sent INIT: keep it for a successor.
    func didReadInitialization(_ request: UnsafeRawBufferPointer) {
        if restart.withLock({ $0.reply == nil }) {
            unsafe state?.store(initialization: request)
            isInitializing.store(true, ordering: .relaxed)
        }
    }

    /// INIT's reply was written: from now on a successor may assume that the kernel has it.
    func didWriteInitialization() {
        state?.markInitialized()
        isInitializing.store(false, ordering: .relaxed)
    }

    /// Completes libfuse's reply to INIT by what that version doesn't know, and swallows it when it was fed.
    ///
    /// - Returns: the byte count to report to libfuse if nothing is to be written.
    func initializationReply(_ vector: UnsafeMutablePointer<iovec>, _ count: Int32) -> Int? {
        unsafe FuseNegotiation.completeReply(vector, count)
        return restart.withLock { restart -> Int? in
            guard restart.swallowsReply else { return nil }
            restart.swallowsReply = false
            var bytes: [UInt8] = []
            for index in 0..<Int(count) {
                let part = unsafe UnsafeRawBufferPointer(start: vector[index].iov_base, count: vector[index].iov_len)
                unsafe bytes.append(contentsOf: part)
            }
            restart.reply = bytes
            return bytes.count
        }
    }
}
