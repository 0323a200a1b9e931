/// What the kernel has of what sandboxes are made of.
public enum SandboxFeatures {
    /// The version of landlock, 0 without.
    public static var landlockVersion: Int { Int(LandlockRuleset.version) }
}
