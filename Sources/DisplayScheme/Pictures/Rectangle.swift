/// A rectangle of pixels. Empty if a side is 0; sides are never negative.
public struct Rectangle: Sendable, Equatable {
    /// The left column.
    public var x: Int
    /// The upper row.
    public var y: Int
    /// Columns.
    public var width: Int
    /// Rows.
    public var height: Int

    /// A rectangle; a negative side counts as 0.
    public init(x: Int = 0, y: Int = 0, width: Int, height: Int) {
        self.x = x
        self.y = y
        self.width = max(0, width)
        self.height = max(0, height)
    }

    /// Whether it has no pixel.
    public var isEmpty: Bool { width == 0 || height == 0 }

    /// The column behind the last one.
    public var right: Int { x &+ width }

    /// The row behind the last one.
    public var bottom: Int { y &+ height }

    /// What both have.
    public func intersection(_ other: Rectangle) -> Rectangle {
        let left = max(x, other.x)
        let top = max(y, other.y)
        return Rectangle(
            x: left, y: top, width: min(right, other.right) &- left, height: min(bottom, other.bottom) &- top)
    }

    /// The smallest rectangle with both in it.
    public func union(_ other: Rectangle) -> Rectangle {
        if isEmpty { return other }
        if other.isEmpty { return self }
        let left = min(x, other.x)
        let top = min(y, other.y)
        return Rectangle(
            x: left, y: top, width: max(right, other.right) &- left, height: max(bottom, other.bottom) &- top)
    }

    /// What isn't in another one, in up to four parts.
    public func subtracting(_ other: Rectangle) -> [Rectangle] {
        let common = intersection(other)
        if common.isEmpty { return isEmpty ? [] : [self] }
        return [
            Rectangle(x: x, y: y, width: width, height: common.y &- y),
            Rectangle(x: x, y: common.y, width: common.x &- x, height: common.height),
            Rectangle(x: common.right, y: common.y, width: right &- common.right, height: common.height),
            Rectangle(x: x, y: common.bottom, width: width, height: bottom &- common.bottom),
        ].filter { !$0.isEmpty }
    }

    /// Whether a pixel is in it.
    public func contains(_ column: Int, _ row: Int) -> Bool {
        column >= x && column < right && row >= y && row < bottom
    }
}
