/// What of a display has changed since a viewer was told: a few rectangles, merged when they become many.
struct DamageList: Equatable, Sendable {
    private(set) var rectangles: [Rectangle] = []
    private(set) var isResized = false
    private static let limit = 16

    var isEmpty: Bool { rectangles.isEmpty && !isResized }

    mutating func add(_ rectangle: Rectangle) {
        if rectangle.isEmpty || rectangles.contains(where: { $0.intersection(rectangle) == rectangle }) { return }
        rectangles.removeAll { $0.intersection(rectangle) == $0 }
        if rectangles.count == Self.limit {
            rectangles = [rectangles.reduce(rectangle) { $0.union($1) }]
        } else {
            rectangles.append(rectangle)
        }
    }

    mutating func sizeChanged() {
        isResized = true
        rectangles = []
    }

    mutating func take() -> DamageList {
        defer { self = DamageList() }
        return self
    }

    /// What is in a rectangle was sent.
    mutating func remove(_ rectangle: Rectangle) {
        let rest = rectangles.flatMap { $0.subtracting(rectangle) }
        rectangles = []
        for part in rest { add(part) }
    }

    /// What is beyond a size will never be asked for.
    mutating func crop(to size: PixelSize) {
        rectangles = rectangles.map { $0.intersection(size.bounds) }.filter { !$0.isEmpty }
    }

    mutating func add(_ other: DamageList) {
        if other.isResized { sizeChanged() }
        for rectangle in other.rectangles { add(rectangle) }
    }
}
