/// A binary heap of block numbers with the lowest on top. Numbers that are no longer meant stay in it until they come
/// up: the owner knows which ones are valid.
struct ChunkHeap: Sendable {
    private var numbers: [UInt64] = []

    /// How many numbers are in it, valid or not.
    var count: Int { numbers.count }
    /// The lowest number.
    var lowest: UInt64? { numbers.first }

    /// Adds a number.
    mutating func insert(_ number: UInt64) {
        numbers.append(number)
        var child = numbers.count &- 1
        while child > 0 {
            let parent = (child &- 1) &>> 1
            if numbers[parent] <= number { break }
            numbers[child] = numbers[parent]
            child = parent
        }
        numbers[child] = number
    }

    /// Takes the lowest number away.
    mutating func removeLowest() {
        guard let last = numbers.popLast(), !numbers.isEmpty else { return }
        var parent = 0
        let end = numbers.count
        while true {
            var child = parent &* 2 &+ 1
            if child >= end { break }
            if child &+ 1 < end, numbers[child &+ 1] < numbers[child] { child &+= 1 }
            if numbers[child] >= last { break }
            numbers[parent] = numbers[child]
            parent = child
        }
        numbers[parent] = last
    }

    /// Keeps only what the body says is valid, each number once.
    mutating func rebuild(keeping isValid: (UInt64) -> Bool) {
        // A sorted array is a heap.
        let sorted = numbers.filter(isValid).sorted()
        numbers.removeAll(keepingCapacity: true)
        for number in sorted where numbers.last != number { numbers.append(number) }
    }
}
