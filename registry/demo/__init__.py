"""The demo deals: files of announcements that anybody could post (`docs/demo-deals.md` tells each one's sources)."""
