/// "1 block", "2 blocks".
func counted<Count: BinaryInteger>(_ count: Count, _ noun: String) -> String {
    "\(count) \(noun)\(count == 1 ? "" : "s")"
}
