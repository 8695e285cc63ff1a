"""What takes up the disk: what each repository needs, what can go, and why the rest stays.

Every file below the root is counted once. The bytes of blobs are divided by why they stay, as a
collection would see it, and all other files by what they are (`categories`). Nothing is written,
nobody is kept waiting and nobody is waited for: beside pushes the answer is as old as the look.
"""
