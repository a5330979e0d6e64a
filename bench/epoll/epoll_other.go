//go:build !linux

package epoll
