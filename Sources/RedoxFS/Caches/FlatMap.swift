/// A key of a `FlatMap`: small, comparable, with one value that is never stored.
protocol FlatKey: Equatable, Sendable {
    /// The key that marks an unused place; never stored.
    static var vacant: Self { get }
    /// Bits that are spread evenly over all keys.
    var scrambled: UInt64 { get }
}

extension UInt64: FlatKey {
    static var vacant: UInt64 { .max }
    @inline(__always) var scrambled: UInt64 {
        let mixed = self &* 0x9E37_79B9_7F4A_7C15
        return mixed ^ (mixed &>> 29)
    }
}

/// A hash map with open addressing in two flat arrays: several times faster than a dictionary for keys of a word.
/// Removal closes the gap, so that there are no tombstones.
struct FlatMap<Key: FlatKey, Value: Sendable>: Sendable {
    private var keys: [Key] = []
    private var values: [Value] = []
    private var mask = -1
    /// How many keys are stored.
    private(set) var count = 0
    private let filler: Value

    /// - Parameter filler: what stands in places that are not in use.
    init(filler: Value) { self.filler = filler }

    @inline(__always)
    private func home(_ key: Key) -> Int { Int(truncatingIfNeeded: key.scrambled) & mask }

    /// The place of a key, or -1.
    @inline(__always)
    private func place(_ key: Key) -> Int {
        guard mask >= 0 else { return -1 }
        var index = home(key)
        while true {
            let found = keys[index]
            if found == key { return index }
            if found == .vacant { return -1 }
            index = (index &+ 1) & mask
        }
    }

    /// The value of a key.
    subscript(key: Key) -> Value? {
        @inline(__always) get {
            let index = place(key)
            return index < 0 ? nil : values[index]
        }
        set {
            if let newValue { set(key, newValue) } else { remove(key) }
        }
    }

    /// Stores a value, replacing the key's old one.
    mutating func set(_ key: Key, _ value: Value) {
        if (count &+ 1) &* 4 > (mask &+ 1) &* 3 { grow() }
        var index = home(key)
        while true {
            let found = keys[index]
            if found == key {
                values[index] = value
                return
            }
            if found == .vacant { break }
            index = (index &+ 1) & mask
        }
        keys[index] = key
        values[index] = value
        count &+= 1
    }

    /// Removes a key; says whether it was there.
    @discardableResult
    mutating func remove(_ key: Key) -> Bool {
        var gap = place(key)
        guard gap >= 0 else { return false }
        count &-= 1
        var index = gap
        while true {
            index = (index &+ 1) & mask
            let candidate = keys[index]
            if candidate == .vacant { break }
            // A key may move back into the gap unless its home lies behind the gap.
            let distance = (index &- home(candidate)) & mask
            if distance >= (index &- gap) & mask {
                keys[gap] = candidate
                values[gap] = values[index]
                gap = index
            }
        }
        keys[gap] = .vacant
        values[gap] = filler
        return true
    }

    /// Changes a value in place, starting from `initial` if the key is new.
    @inline(__always)
    mutating func update<Result>(
        _ key: Key, initial: @autoclosure () -> Value, _ body: (inout Value) -> Result
    ) -> Result {
        var index = place(key)
        if index < 0 {
            set(key, initial())
            index = place(key)
        }
        return body(&values[index])
    }

    /// Removes everything.
    mutating func removeAll() { self = FlatMap(filler: filler) }

    /// Calls the body for each pair, in no useful order.
    func forEach(_ body: (Key, Value) -> Void) {
        for index in keys.indices where keys[index] != .vacant { body(keys[index], values[index]) }
    }

    private mutating func grow() {
        let oldKeys = keys
        let oldValues = values
        let capacity = max(16, (mask &+ 1) &* 2)
        keys = [Key](repeating: .vacant, count: capacity)
        values = [Value](repeating: filler, count: capacity)
        mask = capacity &- 1
        count = 0
        for index in oldKeys.indices where oldKeys[index] != .vacant { set(oldKeys[index], oldValues[index]) }
    }
}
