module example.com/hello

go 1.22

require (
	github.com/go-chi/chi/v5 v5.1.0
	github.com/google/go-cmp v0.6.0
	github.com/google/uuid v1.6.0
)
