// A producer in Go: go run producer.go http://127.0.0.1:8766 KEY
package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

func emit(url, key, id string, event []byte) ([]byte, error) {
	for attempt := 0; ; attempt++ {
		request, err := http.NewRequest("POST", url, bytes.NewReader(event))
		if err != nil {
			return nil, err
		}
		request.Header.Set("Authorization", "Bearer "+key)
		request.Header.Set("Content-Type", "application/json")
		request.Header.Set("Idempotency-Key", id) // sent again, it is the same event
		answer, err := http.DefaultClient.Do(request)
		if err == nil {
			told, err := io.ReadAll(answer.Body)
			answer.Body.Close()
			if err == nil && answer.StatusCode < 500 && answer.StatusCode != 429 {
				return told, nil
			}
		}
		if attempt == 5 {
			return nil, fmt.Errorf("no answer")
		}
		time.Sleep(time.Second << attempt)
	}
}

func main() {
	event := []byte(`{"type":"report_ready","payload":{"pages":3},"user_id":"alice"}`)
	told, err := emit(os.Args[1]+"/v1/threads/go/events", os.Args[2], "report-7", event)
	if err != nil {
		panic(err)
	}
	os.Stdout.Write(told)
}
