package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite", in Go throughout
)

const schema = `
CREATE TABLE IF NOT EXISTS messages (id INTEGER PRIMARY KEY AUTOINCREMENT, room TEXT NOT NULL, user TEXT NOT NULL, body TEXT NOT NULL, at INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS messages_of_room ON messages (room, id);
CREATE TABLE IF NOT EXISTS bans (room TEXT NOT NULL, user TEXT NOT NULL, PRIMARY KEY (room, user)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS mutes (room TEXT NOT NULL, user TEXT NOT NULL, until INTEGER NOT NULL, PRIMARY KEY (room, user)) WITHOUT ROWID;
`

// message is a row, and what clients get.
type message struct {
	ID   int64  `json:"id"`
	User string `json:"user"`
	Name string `json:"name"` // the same as User; the chat page of gateway dev shows this one
	Body string `json:"body"`
	At   int64  `json:"at"`
}

// store keeps messages, bans and mutes. Times are Unix milliseconds.
type store struct{ db *sql.DB }

func openStore(ctx context.Context, file string) (*store, error) {
	db, err := sql.Open("sqlite", "file:"+file+"?_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1) // SQLite has one writer anyway
	if _, err := db.ExecContext(ctx, schema); err != nil {
		db.Close()
		return nil, fmt.Errorf("open %s: %w", file, err)
	}
	return &store{db: db}, nil
}

func (s *store) Close() error { return s.db.Close() }

// add keeps a message and returns it with its id and time.
func (s *store) add(ctx context.Context, room, user, body string) (message, error) {
	m := message{User: user, Name: user, Body: body, At: time.Now().UnixMilli()}
	result, err := s.db.ExecContext(ctx, `INSERT INTO messages (room, user, body, at) VALUES (?, ?, ?, ?)`, room, user, body, m.At)
	if err != nil {
		return m, err
	}
	m.ID, err = result.LastInsertId()
	return m, err
}

// last returns the last messages of a room, the oldest first.
func (s *store) last(ctx context.Context, room string, limit int) ([]message, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT * FROM (SELECT id, user, body, at FROM messages WHERE room = ? ORDER BY id DESC LIMIT ?) ORDER BY id`, room, limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	messages := []message{}
	for rows.Next() {
		var m message
		if err := rows.Scan(&m.ID, &m.User, &m.Body, &m.At); err != nil {
			return nil, err
		}
		m.Name = m.User
		messages = append(messages, m)
	}
	return messages, rows.Err()
}

// author returns who wrote a message of a room; ok is false if there is none.
func (s *store) author(ctx context.Context, room string, id int64) (user string, ok bool, err error) {
	err = s.db.QueryRowContext(ctx, `SELECT user FROM messages WHERE room = ? AND id = ?`, room, id).Scan(&user)
	if errors.Is(err, sql.ErrNoRows) {
		return "", false, nil
	}
	return user, err == nil, err
}

func (s *store) delete(ctx context.Context, room string, id int64) error {
	_, err := s.db.ExecContext(ctx, `DELETE FROM messages WHERE room = ? AND id = ?`, room, id)
	return err
}

func (s *store) ban(ctx context.Context, room, user string) error {
	_, err := s.db.ExecContext(ctx, `INSERT OR IGNORE INTO bans (room, user) VALUES (?, ?)`, room, user)
	return err
}

func (s *store) banned(ctx context.Context, room, user string) (banned bool, err error) {
	err = s.db.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM bans WHERE room = ? AND user = ?)`, room, user).Scan(&banned)
	return banned, err
}

// mute keeps a user from writing until then.
func (s *store) mute(ctx context.Context, room, user string, until int64) error {
	_, err := s.db.ExecContext(ctx, `INSERT OR REPLACE INTO mutes (room, user, until) VALUES (?, ?, ?)`, room, user, until)
	return err
}

func (s *store) muted(ctx context.Context, room, user string) (muted bool, err error) {
	err = s.db.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM mutes WHERE room = ? AND user = ? AND until > ?)`, room, user, time.Now().UnixMilli()).Scan(&muted)
	return muted, err
}
