import Synchronization

/// Contexts of a C library that any thread may borrow for a moment: as many as threads ever worked at once, up to a bound.
/// Borrowing and returning is one exchange of a pointer, without a lock.
@safe
final class ContextPool<Context: AnyObject>: @unchecked Sendable {
    // Safe to share: a context belongs to whoever took its pointer out of a slot.
    private static var slotCount: Int { 32 }
    private let slots: UnsafeMutablePointer<Atomic<UInt>>

    init() {
        unsafe slots = .allocate(capacity: Self.slotCount)
        for index in 0..<Self.slotCount { unsafe (slots + index).initialize(to: Atomic(0)) }
    }

    deinit {
        while take() != nil {}
        unsafe slots.deinitialize(count: Self.slotCount)
        unsafe slots.deallocate()
    }

    /// A context that nobody else uses, or nil: the caller makes one.
    func take() -> Context? {
        for index in 0..<Self.slotCount {
            guard unsafe slots[index].load(ordering: .relaxed) != 0 else { continue }
            let bits = unsafe slots[index].exchange(0, ordering: .acquiring)
            guard let pointer = unsafe UnsafeRawPointer(bitPattern: bits) else { continue }
            return unsafe Unmanaged<Context>.fromOpaque(pointer).takeRetainedValue()
        }
        return nil
    }

    /// Puts a context back; one too many is destroyed.
    func give(_ context: Context) {
        let held = unsafe Unmanaged.passRetained(context)
        let bits = UInt(bitPattern: unsafe held.toOpaque())
        for index in 0..<Self.slotCount {
            guard unsafe slots[index].load(ordering: .relaxed) == 0 else { continue }
            if unsafe slots[index].compareExchange(expected: 0, desired: bits, ordering: .releasing).exchanged {
                return
            }
        }
        unsafe held.release()
    }
}
